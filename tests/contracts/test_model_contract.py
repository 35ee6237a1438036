"""What every model adapter promises: the scripted one, the real one on the wire, lean and by the SDK's pipeline, and
the one over several endpoints, with a single one of them: with more it asks elsewhere before it raises.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected, ModelUnavailable
from streams.model.anthropic_model import AnthropicModel, AnthropicOptions
from streams.model.balanced_model import BalancedModel
from streams.model.endpoint import ClosableModel, Endpoint
from streams.model.port import Model, ModelPrompt
from streams.model.prices import cost_usd
from streams.model.scripted import ScriptedModel
from tests.rehearsal import RehearsalServer, rehearsal_server


@dataclass(frozen=True)
class Stage:
    """A model, how to make its next call fail, how to slow it, and the ids of the calls that arrived."""

    model: Model
    fail: Callable[[ModelError, dict[str, Any]], None]
    slow: Callable[[float], None]
    seen: Callable[[], list[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[RehearsalServer]:
    with rehearsal_server() as server:
        yield server


@pytest.fixture(params=["scripted", "lean", "sdk", "streaming", "balanced"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "scripted":
        scripted = ScriptedModel()
        yield Stage(
            scripted,
            lambda error, _: scripted._script.append(error),
            lambda seconds: setattr(scripted, "latency_seconds", seconds),
            lambda: [prompt.request_id for prompt in scripted.calls],
        )
        return
    server: RehearsalServer = request.getfixturevalue("server")
    server.reset()
    options = AnthropicOptions(
        lean=request.param != "sdk", stream_above_tokens=0 if request.param == "streaming" else 21_333
    )
    model: ClosableModel = AnthropicModel("sk-test", server.url, options)
    if request.param == "balanced":
        model = BalancedModel([Endpoint("only", model, "only")])
    yield Stage(
        model,
        lambda _, fault: server.set(faults=[{**fault, "count": 1}]),
        lambda seconds: server.set(latency_seconds=seconds),
        lambda: [call["request_id"] for call in server.ledger()],
    )
    await model.close()


def a_prompt(content: str = "Which VLAN is native?", request_id: str = "r-1", max_tokens: int = 512) -> ModelPrompt:
    return ModelPrompt("claude-haiku-5-5", max_tokens, "Be short.", [{"role": "user", "content": content}], request_id)


async def test_a_reply_says_what_was_answered_and_used(stage: Stage) -> None:
    reply = await stage.model.answer(a_prompt(), 10)
    assert reply.text
    assert reply.stop_reason == "end_turn"
    assert reply.model == "claude-haiku-5-5"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0


async def test_a_reply_is_cut_at_max_tokens(stage: Stage) -> None:
    reply = await stage.model.answer(a_prompt(max_tokens=3), 10)
    assert reply.stop_reason == "max_tokens"
    assert reply.usage.output_tokens == 3


async def test_the_request_id_goes_along(stage: Stage) -> None:
    await stage.model.answer(a_prompt(request_id="r-42"), 10)
    assert stage.seen() == ["r-42"]


async def test_calls_run_side_by_side(stage: Stage) -> None:
    stage.slow(0.3)
    prompts = [a_prompt(f"question {number}", f"r-{number}") for number in range(20)]
    async with asyncio.timeout(5):
        replies = await asyncio.gather(*(stage.model.answer(prompt, 10) for prompt in prompts))
    assert len({reply.text for reply in replies}) == 20
    assert sorted(stage.seen()) == sorted(prompt.request_id for prompt in prompts)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ModelBusy("rate_limit_error", "Later.", 3.0, limited=True), {"status": 429, "retry_after": 3}),
        (ModelBusy("overloaded_error", "Later."), {"status": 529}),
        (ModelPaused("authentication_error", "Who?"), {"status": 401}),
        (
            ModelPaused("enforced_spend_limit_reached", "Spent."),
            {"status": 429, "error_code": "enforced_spend_limit_reached"},
        ),
        (ModelRejected("invalid_request_error", "No."), {"status": 400}),
    ],
    ids=lambda value: value.code if isinstance(value, ModelError) else "",
)
async def test_a_refusal_is_raised_by_what_to_do_next_and_called_once(
    stage: Stage, error: ModelError, fault: dict[str, Any]
) -> None:
    stage.fail(error, {**fault, "message": error.message})
    with pytest.raises(type(error)) as raised:
        await stage.model.answer(a_prompt(), 10)
    assert (raised.value.code, raised.value.message) == (error.code, error.message)
    if isinstance(error, ModelBusy) and isinstance(raised.value, ModelBusy):
        assert raised.value.retry_after_seconds == error.retry_after_seconds
        assert raised.value.limited == error.limited
    assert len(stage.seen()) == 1


async def test_a_failure_leaves_the_model_usable(stage: Stage) -> None:
    stage.fail(ModelBusy("api_error", "Oops."), {"status": 500})
    with pytest.raises(ModelBusy):
        await stage.model.answer(a_prompt(), 10)
    assert (await stage.model.answer(a_prompt(), 10)).text


async def test_a_passed_deadline_means_that_nothing_was_sent(stage: Stage) -> None:
    with pytest.raises(ModelBusy):
        await stage.model.answer(a_prompt(), 0)
    assert stage.seen() == []


async def test_a_deadline_that_passes_during_the_call_is_ambiguous(stage: Stage) -> None:
    stage.slow(5)
    with pytest.raises(ModelAmbiguous) as raised:
        await stage.model.answer(a_prompt(), 0.2)
    assert raised.value.code == "deadline_exceeded"


LONG = "Write the complete configuration for one device. " * 60
MARKED: dict[str, Any] = {"system": LONG, "marks_system": True}


def billed(server: RehearsalServer, request_id: str) -> list[Decimal]:
    """What these calls cost; one that an earlier test gave up may be finished only now."""
    return [Decimal(str(call["cost_usd"])) for call in server.ledger() if call["request_id"] == request_id]


@pytest.mark.parametrize("param", ["lean", "sdk", "streaming", "balanced"])
async def test_a_marked_system_text_is_written_then_read_and_told_in_the_usage(
    server: RehearsalServer, param: str
) -> None:
    server.reset()
    options = AnthropicOptions(lean=param != "sdk", stream_above_tokens=0 if param == "streaming" else 21_333)
    model: ClosableModel = AnthropicModel(f"sk-{param}", server.url, options)
    if param == "balanced":
        model = BalancedModel([Endpoint("only", model, "only")])
    try:
        usages = [(await model.answer(replace(a_prompt(text, param), **MARKED), 10)).usage for text in ("one", "two")]
    finally:
        await model.close()
    first, second = usages
    assert first.cache_write_tokens == second.cache_read_tokens > 512
    assert first.cache_read_tokens == second.cache_write_tokens == 0
    assert billed(server, param) == [cost_usd("claude-haiku-5-5", usage) for usage in usages]


async def test_what_is_kept_for_an_hour_is_told_and_billed_as_such(server: RehearsalServer) -> None:
    server.reset()
    model = AnthropicModel("sk-hour", server.url)
    block = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    prompt = replace(a_prompt(request_id="hour"), messages=[{"role": "user", "content": [block]}])
    try:
        usage = (await model.answer(prompt, 10)).usage
    finally:
        await model.close()
    assert usage.cache_write_1h_tokens == usage.cache_write_tokens > 512
    assert billed(server, "hour") == [cost_usd("claude-haiku-5-5", usage)]


async def test_a_model_nobody_knows_is_unavailable_and_the_request_is_not_blamed(server: RehearsalServer) -> None:
    model = AnthropicModel("sk-test", server.url)
    try:
        with pytest.raises(ModelUnavailable):
            await model.answer(replace(a_prompt(), model="claude-nobody-9"), 10)
    finally:
        await model.close()
