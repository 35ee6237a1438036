"""Several endpoints as one model: one that fails is left alone, none is asked twice, what may be paid is asked once."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from streams import metrics
from streams.endpoint_settings import EndpointKeyError, ModelEndpoint
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected, ModelUnavailable
from streams.model.balanced_model import BalancedModel
from streams.model.endpoint import Endpoint, RestRules
from streams.model.port import ModelReply
from streams.model.scripted import ScriptedModel
from streams.settings import Settings
from tests.builders import MODEL, a_prompt, a_reply

REFUSED = ModelPaused("authentication_error", "Who?")
LIMITED = ModelBusy("rate_limit_error", "Slower.", 5.0, limited=True)
OVERLOADED = ModelBusy("overloaded_error", "Later.")
LOST = ModelAmbiguous("connection_lost", "Gone.")
UNKNOWN = ModelUnavailable("not_found_error", "model: nobody")
REJECTED = ModelRejected("invalid_request_error", "No.")


class Table:
    """Endpoints `a`, `b`, … each with its script, on a clock of the test's."""

    def __init__(self, *scripts: list[str | ModelReply | ModelError], accounts: str = "abc", models: str = "") -> None:
        self.now = 1000.0
        self.models = {name: ScriptedModel(script) for name, script in zip("abc", scripts, strict=False)}
        served = (models,) if models else ()
        endpoints = [
            Endpoint(name, model, account, served)
            for (name, model), account in zip(self.models.items(), accounts, strict=False)
        ]
        self.balanced = BalancedModel(endpoints, RestRules(), lambda: self.now)

    async def ask(self, seconds: float = 10) -> ModelReply:
        return await self.balanced.answer(a_prompt(), seconds)

    async def failure(self) -> ModelError:
        with pytest.raises(ModelError) as caught:
            await self.ask()
        return caught.value

    @property
    def calls(self) -> dict[str, int]:
        return {name: len(model.calls) for name, model in self.models.items()}


def with_limits(limit: int, remaining: int) -> ModelReply:
    told = {"limit": limit, "remaining": remaining}
    reply = a_reply()
    headers = {f"anthropic-ratelimit-requests-{part}": str(value) for part, value in told.items()}
    return ModelReply(reply.text, reply.stop_reason, reply.model, reply.usage, reply.model_ms, headers)


@pytest.mark.parametrize("error", [REFUSED, LIMITED, OVERLOADED, UNKNOWN], ids=lambda error: error.code)
async def test_a_definite_failure_of_one_endpoint_is_answered_by_another_in_the_same_call(error: ModelError) -> None:
    table = Table([error], ["vlan 1"])
    assert (await table.ask()).text == "vlan 1"
    assert table.calls == {"a": 1, "b": 1}


@pytest.mark.parametrize("error", [LOST, REJECTED], ids=lambda error: error.code)
async def test_what_may_be_paid_or_is_refused_for_itself_is_asked_nowhere_else(error: ModelError) -> None:
    table = Table([error], ["vlan 1"])
    assert await table.failure() is error
    assert table.calls == {"a": 1, "b": 0}


async def test_a_refused_key_rests_while_the_other_answers_and_is_tried_by_one_call_afterwards() -> None:
    table = Table([REFUSED, REFUSED], [])
    for _ in range(10):
        await table.ask()
    assert table.calls == {"a": 1, "b": 10}
    table.now += 31
    table.models["a"].latency_seconds = 0.01
    await asyncio.gather(*(table.ask() for _ in range(10)))
    assert table.calls["a"] == 2
    table.now += 31
    await table.ask()
    assert table.calls["a"] == 3
    assert metrics.ENDPOINT_RESTS.labels("a", "refused")._value.get() == 0


async def test_the_account_is_told_of_as_refused_only_where_every_key_is() -> None:
    table = Table([REFUSED], [REFUSED])
    assert isinstance(await table.failure(), ModelPaused)
    table = Table([LIMITED, REFUSED], [REFUSED])
    failure = await table.failure()
    assert isinstance(failure, ModelBusy)
    assert (failure.limited, failure.retry_after_seconds) == (True, 5.0)


async def test_a_refused_key_beside_one_that_rests_for_a_moment_is_waited_for_no_longer_than_that() -> None:
    table = Table([LIMITED], ["vlan 1", REFUSED])
    await table.ask()
    failure = await table.failure()
    assert isinstance(failure, ModelBusy)
    assert (failure.code, failure.limited, failure.retry_after_seconds) == ("endpoints_busy", True, 5.0)


async def test_where_all_are_limited_the_shortest_wait_is_told() -> None:
    longer = ModelBusy("rate_limit_error", "Slower.", 30.0, limited=True)
    failure = await Table([longer], [LIMITED]).failure()
    assert isinstance(failure, ModelBusy)
    assert (failure.limited, failure.retry_after_seconds) == (True, 5.0)


async def test_where_all_rest_one_is_asked_since_the_gate_has_let_the_call_go() -> None:
    table = Table([REFUSED], [REFUSED])
    await table.failure()
    assert (await table.ask()).text
    assert sum(table.calls.values()) == 3


async def test_a_model_that_only_one_key_may_use_is_asked_there_alone() -> None:
    table = Table([UNKNOWN], [])
    for _ in range(5):
        await table.ask()
    assert table.calls == {"a": 1, "b": 5}


async def test_a_model_that_no_key_may_use_is_unavailable_each_time_it_is_asked() -> None:
    table = Table([UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN])
    for _ in range(2):
        assert isinstance(await table.failure(), ModelUnavailable)
    table = Table([UNKNOWN], [REFUSED, REFUSED])
    for _ in range(2):
        assert isinstance(await table.failure(), ModelPaused)


async def test_a_model_that_no_endpoint_serves_is_unavailable() -> None:
    table = Table([], models="another")
    assert (await table.failure()).code == "no_endpoint"
    assert table.calls == {"a": 0}


async def test_an_endpoint_that_keeps_losing_answers_rests() -> None:
    table = Table([LOST, LOST, LOST], [])
    table.models["b"].latency_seconds = 0.0
    for _ in range(3):
        table.balanced._seats[1]._latencies[MODEL] = 60.0, table.now
        assert await table.failure() is LOST
    assert (await table.ask()).text
    assert table.calls == {"a": 3, "b": 1}


async def test_a_passed_deadline_says_nothing_of_the_endpoint() -> None:
    table = Table([])
    with pytest.raises(ModelBusy, match="deadline"):
        await table.ask(0)
    assert (await table.ask()).text
    assert table.balanced._seats[0].rests_seconds(MODEL) == 0


async def test_calls_at_once_are_spread() -> None:
    table = Table([], [], [])
    for model in table.models.values():
        model.latency_seconds = 0.01
    await asyncio.gather(*(table.ask() for _ in range(30)))
    assert table.calls == {"a": 10, "b": 10, "c": 10}


async def test_the_slower_gets_fewer_calls_and_is_tried_again_once_its_figure_is_old() -> None:
    table = Table([], [])
    table.balanced._seats[0]._latencies[MODEL] = 8.0, table.now
    table.balanced._seats[1]._latencies[MODEL] = 1.0, table.now
    await table.ask()
    assert table.calls == {"a": 0, "b": 1}
    table.balanced._seats[1]._latencies[MODEL] = 1.0, table.now + 600
    table.now += 600
    await table.ask()
    assert table.calls == {"a": 1, "b": 1}


async def test_limits_of_several_accounts_are_told_as_one_and_those_of_one_account_once() -> None:
    apart = Table([with_limits(600, 10)], [with_limits(60, 5)])
    assert (await apart.ask()).limits == {}
    together = (await apart.ask()).limits
    assert together["anthropic-ratelimit-requests-limit"] == "660"
    assert together["anthropic-ratelimit-requests-remaining"] == "15"
    shared = Table([with_limits(600, 10)], [with_limits(600, 9)], accounts="xx")
    await shared.ask()
    assert (await shared.ask()).limits["anthropic-ratelimit-requests-limit"] == "600"


async def test_a_refused_account_gives_no_limit_to_count_on() -> None:
    table = Table([with_limits(600, 600), REFUSED], [with_limits(60, 60), with_limits(60, 60)])
    await table.ask()
    await table.ask()
    table.balanced._seats[1]._latencies[MODEL] = 60.0, table.now
    assert (await table.ask()).limits["anthropic-ratelimit-requests-limit"] == "60"


def test_keys_of_endpoints_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_ENDPOINTS", '[{"name": "eu", "api_key": "sk-secret", "weight": 2}]')
    settings = Settings()
    assert settings.model_endpoints[0].key() == "sk-secret"
    assert "sk-secret" not in repr(settings) + settings.model_dump_json()
    for wrong in ('[{"name": "EU!", "api_key": "sk-secret"}]', '[{"name": "eu", "api_key": "sk-secret", "wait": 1}]'):
        monkeypatch.setenv("HEADRACE_MODEL_ENDPOINTS", wrong)
        with pytest.raises(ValidationError) as refusal:
            Settings()
        assert "sk-secret" not in str(refusal.value)


def test_endpoints_are_named_apart_and_have_one_key_each() -> None:
    endpoint = {"name": "eu", "api_key": "sk"}
    for wrong in ([endpoint, endpoint], [{"name": "eu"}], [{**endpoint, "api_key_file": "key"}]):
        with pytest.raises(ValidationError):
            Settings.model_validate({"model_endpoints": wrong})


def test_a_key_file_is_read_and_one_that_is_missing_or_empty_says_what_to_do(tmp_path: Path) -> None:
    key = tmp_path / "key"
    endpoint = ModelEndpoint(name="eu", api_key_file=key)
    with pytest.raises(EndpointKeyError, match="put it there"):
        endpoint.key()
    key.write_text("\n")
    with pytest.raises(EndpointKeyError, match="empty"):
        endpoint.key()
    key.write_text("sk-secret\n")
    assert endpoint.key() == "sk-secret"
