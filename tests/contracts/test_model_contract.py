"""What every model adapter promises: the scripted one, and the real one on the wire, lean and by the SDK's pipeline."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected
from streams.model.anthropic_model import AnthropicModel, AnthropicOptions
from streams.model.port import Model, ModelPrompt
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


@pytest.fixture(params=["scripted", "lean", "sdk", "streaming"])
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
    model = AnthropicModel("sk-test", server.url, options)
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
