"""How often, how soon and until when the model is asked; no test waits."""

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.result import Usage
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected
from streams.model.caller import CallFailed, ModelCaller, Price, RetryRules
from streams.model.port import ModelReply
from streams.model.scripted import ScriptedModel
from tests.builders import A_TIME, Clock, a_prompt, a_reply

IN_A_MINUTE = A_TIME + timedelta(seconds=60)
RULES = RetryRules(attempts=3, first_delay=timedelta(seconds=1), longest_delay=timedelta(seconds=8))


def busy(retry_after_seconds: float | None = None) -> ModelBusy:
    return ModelBusy("overloaded_error", "Later.", retry_after_seconds)


class Stage:
    """A caller over a script; what it would have slept is in `slept`, and passes on its clock."""

    def __init__(
        self, *script: str | ModelReply | ModelError, rules: RetryRules = RULES, price: Price = lambda *_: Decimal(2)
    ) -> None:
        self.model = ScriptedModel(script)
        self.clock = Clock()
        self.slept: list[float] = []
        self.caller = ModelCaller(self.model, price, rules, self.clock, Random(7), self._sleep)  # noqa: S311 - jitter

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)


async def test_a_reply_is_priced_and_dated() -> None:
    asked: list[tuple[str, Usage]] = []

    def price(model: str, usage: Usage) -> Decimal:
        asked.append((model, usage))
        return Decimal("0.5")

    stage = Stage(a_reply("vlan 110"), price=price)
    paid = await stage.caller.call(a_prompt(), IN_A_MINUTE)
    assert (paid.reply.text, paid.cost_usd, paid.attempts, paid.completed_at) == ("vlan 110", Decimal("0.5"), 1, A_TIME)
    assert asked == [(paid.reply.model, paid.reply.usage)]
    assert stage.slept == []


async def test_an_unknown_price_is_none() -> None:
    assert (await Stage("yes", price=lambda *_: None).caller.call(a_prompt(), IN_A_MINUTE)).cost_usd is None


@pytest.mark.parametrize("error", [busy(), ModelAmbiguous("timeout", "No answer came.")])
async def test_what_may_pass_is_asked_again_and_every_attempt_is_counted(error: ModelError) -> None:
    stage = Stage(error, error, "yes")
    paid = await stage.caller.call(a_prompt(), IN_A_MINUTE)
    assert (paid.reply.text, paid.attempts, len(stage.model.calls)) == ("yes", 3, 3)


@pytest.mark.parametrize("error", [ModelRejected("invalid_request_error", "No."), ModelPaused("billing_error", "Pay.")])
async def test_what_will_not_pass_is_asked_once(error: ModelError) -> None:
    stage = Stage(error)
    with pytest.raises(CallFailed) as failed:
        await stage.caller.call(a_prompt(), IN_A_MINUTE)
    assert (failed.value.error, failed.value.attempts) == (error, 1)
    assert stage.slept == []


async def test_attempts_are_bounded_and_the_last_error_is_told() -> None:
    last = busy()
    stage = Stage(busy(), busy(), last, "too late")
    with pytest.raises(CallFailed) as failed:
        await stage.caller.call(a_prompt(), IN_A_MINUTE)
    assert failed.value.error is last
    assert (failed.value.attempts, len(stage.model.calls), len(stage.slept)) == (3, 3, 2)


async def test_the_deadline_bounds_every_call() -> None:
    stage = Stage("yes")
    stage.model.latency_seconds = 5
    with pytest.raises(CallFailed) as failed:
        await stage.caller.call(a_prompt(), A_TIME + timedelta(milliseconds=20))
    assert failed.value.error.code == "deadline_exceeded"


async def test_no_wait_reaches_past_the_deadline() -> None:
    stage = Stage(busy(7), busy(7), "too late")
    with pytest.raises(CallFailed) as failed:
        await stage.caller.call(a_prompt(), A_TIME + timedelta(seconds=10))
    assert failed.value.attempts == 2
    assert sum(stage.slept) < 10


async def test_past_the_deadline_nothing_is_sent() -> None:
    stage = Stage("too late")
    with pytest.raises(CallFailed) as failed:
        await stage.caller.call(a_prompt(), A_TIME - timedelta(seconds=1))
    assert isinstance(failed.value.error, ModelBusy)
    assert stage.model.calls == []


async def test_retry_after_is_honoured() -> None:
    stage = Stage(busy(3), "yes")
    await stage.caller.call(a_prompt(), IN_A_MINUTE)
    assert 3 <= stage.slept[0] <= 3.75


jitters = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 60), jitters)
def test_a_delay_is_bounded_whatever_the_attempt(attempt: int, jitter: float) -> None:
    delay = RULES.delay_seconds(attempt, busy(), jitter)
    assert 0.75 <= delay <= 8 * 1.25


@given(jitters)
def test_delays_double(jitter: float) -> None:
    delays = [RULES.delay_seconds(attempt, busy(), jitter) for attempt in range(1, 7)]
    assert [round(delay / delays[0], 6) for delay in delays] == [1, 2, 4, 8, 8, 8]


@given(st.floats(0, 10**6), jitters)
def test_retry_after_is_a_least_wait_up_to_the_cap(seconds: float, jitter: float) -> None:
    delay = RULES.delay_seconds(1, busy(seconds), jitter)
    assert min(seconds, 8) <= delay <= 8 * 1.25


def test_waiters_spread() -> None:
    delays = {RULES.delay_seconds(1, busy(2), jitter / 10) for jitter in range(10)}
    assert len(delays) == 10
