"""Another model in the place of one that is refused or broken: asked by policy, told in the result, paid once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.result import Usage
from streams import metrics
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected, ModelUnavailable
from streams.model.gate import GateRules
from streams.model.port import ModelPrompt, ModelReply
from streams.paying import FallbackPolicy, NotAnswered, PayingRules
from streams.paying.stand_ins import StandIns
from streams.results import completed
from tests.builders import A_TIME, Clock, an_id
from tests.paying import PayingWorker, World, asked

OPUS, SONNET, HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"
REFUSED = ModelUnavailable("not_found_error", f"model: {OPUS}")
BUSY = ModelBusy("overloaded_error", "Later.")
PRICES = {OPUS: Decimal(4), SONNET: Decimal(2), HAIKU: Decimal(1)}
BREAKS_AT_ONCE = GateRules(failures_to_break=1, first_break=timedelta(seconds=10))


class ModelsByName:
    """Each fails by its own script, then answers with its name."""

    def __init__(self, **errors: Sequence[ModelError]) -> None:
        self.errors = {name: list(errors.get(name.split("-")[1], ())) for name in PRICES}
        self.called: list[str] = []

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        del deadline_seconds
        self.called.append(prompt.model)
        if self.errors[prompt.model]:
            raise self.errors[prompt.model].pop(0)
        return ModelReply(prompt.model, "end_turn", prompt.model, Usage(input_tokens=1), 5)


def a_worker(
    models: ModelsByName,
    *,
    world: World | None = None,
    policy: Mapping[str, Sequence[str]] | None = None,
    by_tenant: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> PayingWorker:
    return PayingWorker(
        world=world,
        gate_rules=BREAKS_AT_ONCE,
        price=lambda model, _: PRICES[model],
        model=models,
        fallback=FallbackPolicy({OPUS: [SONNET, HAIKU]} if policy is None else policy, by_tenant or {}),
    )


def counted(reason: str) -> float:
    count: float = metrics.FALLBACK_ANSWERS.labels(reason)._value.get()
    return count


async def test_a_refused_model_is_replaced_and_the_result_says_so_at_the_price_of_who_answered() -> None:
    models, before = ModelsByName(opus=[REFUSED]), counted("refused")
    worker = a_worker(models)
    work = asked(model=OPUS)
    stored = (await worker.payer.answer(work)).entry.stored()
    result = completed(work, stored, "model", A_TIME)
    assert (result.model, result.requested_model, result.cost_usd) == (SONNET, OPUS, Decimal(2))
    assert (models.called, stored.attempts, result.fingerprint) == ([OPUS, SONNET], 1, work.fingerprint)
    calls = worker.world.store.calls.values()
    assert [(call.model, call.state) for call in calls] == [(OPUS, "not_paid"), (SONNET, "answered")]
    assert counted("refused") == before + 1


async def test_a_refused_model_is_not_asked_again_for_five_minutes() -> None:
    models = ModelsByName(opus=[REFUSED])
    worker = a_worker(models)
    await worker.payer.answer(asked(1, model=OPUS))
    await worker.payer.answer(asked(2, model=OPUS, mode="refresh"))
    assert models.called == [OPUS, SONNET, SONNET]
    worker.world.clock.advance(301)
    await worker.payer.answer(asked(3, model=OPUS, mode="refresh"))
    assert models.called[-1] == OPUS


async def test_where_every_model_is_refused_the_request_ends_with_the_last_refusal() -> None:
    models = ModelsByName(opus=[REFUSED], sonnet=[REFUSED], haiku=[REFUSED])
    with pytest.raises(NotAnswered) as end:
        await a_worker(models).payer.answer(asked(model=OPUS))
    assert (end.value.error.code, models.called) == ("not_found_error", [OPUS, SONNET, HAIKU])


async def test_without_a_policy_a_refused_model_ends_its_request() -> None:
    models = ModelsByName(opus=[REFUSED])
    with pytest.raises(NotAnswered):
        await a_worker(models, policy={}).payer.answer(asked(model=OPUS))
    assert models.called == [OPUS]


async def test_a_tenant_with_a_rule_of_its_own_is_not_answered_by_the_rule_for_all() -> None:
    models = ModelsByName(opus=[REFUSED])
    with pytest.raises(NotAnswered):
        await a_worker(models, by_tenant={"meridian": {}}).payer.answer(asked(model=OPUS))
    models = ModelsByName(opus=[REFUSED])
    worker = a_worker(models, by_tenant={"meridian": {OPUS: [HAIKU]}})
    assert (await worker.payer.answer(asked(model=OPUS))).entry.stored().model == HAIKU


async def broken(models: ModelsByName) -> PayingWorker:
    """A worker whose breaker for the first model has just opened."""
    worker = a_worker(models)
    passage = await worker.gate.enter(OPUS)
    assert passage is not None
    await worker.gate.report(passage, BUSY)
    return worker


async def test_an_open_breaker_is_not_waited_for_where_another_may_answer() -> None:
    models, before = ModelsByName(), counted("breaker")
    worker = await broken(models)
    stored = (await worker.payer.answer(asked(model=OPUS))).entry.stored()
    assert (stored.model, stored.requested_model, worker.world.clock()) == (SONNET, OPUS, A_TIME)
    assert counted("breaker") == before + 1


async def test_once_the_break_is_over_the_model_that_was_asked_for_answers() -> None:
    models = ModelsByName()
    worker = await broken(models)
    worker.world.clock.advance(11)
    stored = (await worker.payer.answer(asked(model=OPUS))).entry.stored()
    assert (stored.model, stored.requested_model) == (OPUS, None)


async def test_an_answer_given_for_a_break_stays_fresh_for_a_short_time_only() -> None:
    worker = await broken(ModelsByName())
    worker.payer._rules = PayingRules(stand_in_lifetime=timedelta(seconds=0.5))
    stored = (await worker.payer.answer(asked(model=OPUS))).entry.stored()
    assert stored.expires_at == A_TIME + timedelta(seconds=0.5)


async def test_a_call_that_waits_for_its_model_turns_to_another_when_the_breaker_opens() -> None:
    models = ModelsByName()
    worker = a_worker(models)
    passage = await worker.gate.enter(OPUS)
    assert passage is not None
    await worker.gate.report(passage, ModelBusy("rate_limit_error", "Slower.", 5.0, limited=True))
    other = await a_worker(ModelsByName(), world=worker.world).gate.enter(SONNET)
    assert other is not None

    def break_it() -> None:
        worker.world.at_sleep = None
        scope = worker.gate._scopes[OPUS]
        assert scope.pause is not None
        scope.pause = scope.pause._replace(reason="breaker", until=A_TIME + timedelta(minutes=5))

    worker.world.at_sleep = break_it
    assert (await worker.payer.answer(asked(model=OPUS))).entry.stored().model == SONNET
    assert worker.world.clock() < A_TIME + timedelta(minutes=1)


@pytest.mark.parametrize(
    "error",
    [
        ModelBusy("rate_limit_error", "Slower.", 5.0, limited=True),
        ModelPaused("authentication_error", "Who?"),
    ],
)
async def test_a_rate_limit_and_a_pause_of_the_account_are_waited_for(error: ModelError) -> None:
    models = ModelsByName(opus=[error])
    stored = (await a_worker(models).payer.answer(asked(model=OPUS))).entry.stored()
    assert (models.called, stored.requested_model) == ([OPUS, OPUS], None)


async def test_a_request_that_is_itself_refused_is_tried_on_no_other_model() -> None:
    models = ModelsByName(opus=[ModelRejected("invalid_request_error", "No.")])
    with pytest.raises(NotAnswered):
        await a_worker(models).payer.answer(asked(model=OPUS))
    assert models.called == [OPUS]


async def test_an_ambiguous_call_is_repeated_once_at_most_whichever_model_repeats_it() -> None:
    lost = ModelAmbiguous("connection_lost", "Gone.")
    models = ModelsByName(opus=[lost], sonnet=[lost])
    worker = a_worker(models)
    with pytest.raises(NotAnswered) as end:
        await worker.payer.answer(asked(model=OPUS))
    assert (end.value.error.code, models.called) == ("outcome_unknown", [OPUS, SONNET])
    assert [call.state for call in worker.world.store.calls.values()] == ["ambiguous", "ambiguous"]


async def test_a_redelivered_request_gets_the_stand_ins_answer_again_without_a_call() -> None:
    world = World()
    first = await a_worker(ModelsByName(opus=[REFUSED]), world=world).payer.answer(asked(model=OPUS))
    models = ModelsByName()
    again = await a_worker(models, world=world).payer.answer(asked(model=OPUS))
    assert (again.entry, models.called) == (first.entry, [])
    other = completed(asked(2, model=OPUS), again.entry.stored(), "ledger", A_TIME)
    assert (other.model, other.requested_model, other.paid_by) == (SONNET, OPUS, an_id(1))


@given(
    refused=st.sets(st.sampled_from([OPUS, SONNET, HAIKU])),
    broken_=st.sets(st.sampled_from([OPUS, SONNET, HAIKU])),
    policy=st.lists(st.sampled_from([SONNET, HAIKU]), max_size=2, unique=True),
)
def test_the_first_that_can_answer_is_chosen_and_none_outside_the_policy(
    refused: set[str], broken_: set[str], policy: list[str]
) -> None:
    clock, work = Clock(), asked(model=OPUS)
    stand_ins = StandIns(FallbackPolicy({OPUS: policy}), broken_.__contains__, clock)
    candidates = [OPUS, *policy]
    for model in refused.intersection(candidates):
        stand_ins.note_refusal(work, model)
    refused = refused.intersection(candidates) if policy else set()
    chosen = stand_ins.choose(work)
    able = [model for model in candidates if model not in refused | broken_]
    allowed = [model for model in candidates if model not in refused]
    assert chosen == [*able, *allowed, OPUS][0]
    clock.advance(301)
    assert stand_ins.choose(work) == [*(model for model in candidates if model not in broken_), OPUS][0]
