"""Bodies of the Messages API, shaped once by the SDK's own types and filled per call."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, get_args

import orjson
from anthropic.types import (
    Message,
    MessageDeltaUsage,
    MessageTokensCount,
    ModelInfo,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    TextBlock,
    TextDelta,
    Usage,
)
from anthropic.types.model import Model
from anthropic.types.raw_message_delta_event import Delta

from streams.model.anthropic_catalogue import known_retirements

KNOWN_MODELS: Final[tuple[str, ...]] = get_args(get_args(Model)[0])

ERROR_TYPE_OF_STATUS: Final[dict[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_STREAM_PIECES: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back for one call, and what it counts."""

    message_id: str
    model: str
    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def input_usage(self) -> dict[str, Any]:
        """What the prompt counts, in the API's words: `input_tokens` is without what its cache read and wrote."""
        hour = self.cache_write_1h_tokens
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_tokens - hour,
                "ephemeral_1h_input_tokens": hour,
            },
        }


def message_body(answer: Answer) -> bytes:
    """The JSON of a `Message`."""
    return orjson.dumps(_filled_message(answer))


def sse_events(answer: Answer) -> Iterator[bytes]:
    """The answer as the API streams it: one item per server-sent event."""
    opening = Usage.model_validate({**answer.input_usage, "output_tokens": 1})
    start = Message(
        id=answer.message_id, content=[], model=answer.model, role="assistant", type="message", usage=opening
    )
    yield _event(RawMessageStartEvent(message=start, type="message_start"))
    yield _event(RawContentBlockStartEvent(content_block=_text_block(""), index=0, type="content_block_start"))
    yield b'event: ping\ndata: {"type": "ping"}\n\n'
    for piece in _pieces(answer.text):
        delta = TextDelta(text=piece, type="text_delta")
        yield _event(RawContentBlockDeltaEvent(delta=delta, index=0, type="content_block_delta"))
    yield _event(RawContentBlockStopEvent(index=0, type="content_block_stop"))
    told = {name: value for name, value in answer.input_usage.items() if name != "cache_creation"}
    usage = MessageDeltaUsage.model_validate({**told, "output_tokens": answer.output_tokens})
    closing = Delta.model_validate({"stop_reason": answer.stop_reason})
    yield _event(RawMessageDeltaEvent(delta=closing, type="message_delta", usage=usage))
    yield _event(RawMessageStopEvent(type="message_stop"))


def error_body(status: int, message: str, request_id: str, error_code: str | None = None) -> bytes:
    """The API's error shape; `details` only where there is a code, as the API does."""
    error: dict[str, Any] = {"type": ERROR_TYPE_OF_STATUS[status], "message": message}
    if error_code is not None:
        error["details"] = {"error_code": error_code}
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def token_count_body(input_tokens: int) -> bytes:
    return orjson.dumps(MessageTokensCount(input_tokens=input_tokens).model_dump(mode="json"))


@lru_cache(maxsize=1)
def models_body() -> bytes:
    """The page of models that the rehearsal knows: all the SDK names."""
    models = [_model_info(name).model_dump(mode="json") for name in KNOWN_MODELS]
    page = {"data": models, "has_more": False, "first_id": KNOWN_MODELS[0], "last_id": KNOWN_MODELS[-1]}
    return orjson.dumps(page)


def _model_info(name: str) -> ModelInfo:
    """Deprecated where the SDK says so, with its last day; never retired, so that no rehearsal depends on the date."""
    last_day = known_retirements().get(name)
    return ModelInfo(
        id=name,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        display_name=name.replace("-", " ").title(),
        lifecycle="active" if last_day is None else "deprecated",
        retires_at=None if last_day is None else datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC),
        max_input_tokens=1_000_000,
        max_tokens=128_000,
        type="model",
    )


@lru_cache(maxsize=1)
def _message_template() -> dict[str, Any]:
    usage = Usage.model_validate({"input_tokens": 0, "output_tokens": 0})
    message = Message(
        id="msg_", content=[_text_block("")], model="claude", role="assistant", type="message", usage=usage
    )
    return message.model_dump(mode="json", exclude_unset=True)


def _filled_message(answer: Answer) -> dict[str, Any]:
    template = _message_template()
    return template | {
        "id": answer.message_id,
        "model": answer.model,
        "content": [template["content"][0] | {"text": answer.text}],
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": {**template["usage"], **answer.input_usage, "output_tokens": answer.output_tokens},
    }


def _text_block(text: str) -> TextBlock:
    return TextBlock(type="text", text=text, citations=None)


def _pieces(text: str) -> Iterator[str]:
    size = max(8, -(-len(text) // _STREAM_PIECES))
    return (text[start : start + size] for start in range(0, len(text), size))


def _event(event: RawMessageStreamEvent) -> bytes:
    body = orjson.dumps(event.model_dump(mode="json", exclude_none=True))
    return b"event: " + event.type.encode() + b"\ndata: " + body + b"\n\n"
