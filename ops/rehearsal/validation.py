"""What the API refuses before it answers."""

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ops.rehearsal.wire import KNOWN_MODELS

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_OUTPUT_TOKENS: Final = 128_000

_KNOWN: Final = frozenset(KNOWN_MODELS)
_GENERATION: Final = re.compile(r"claude-[a-z]+-(\d+)")
_FIXED_SAMPLING_FROM: Final = 5
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_LIVES_SECONDS: Final = {"5m": 300.0, "1h": 3600.0}
_MOST_MARKS: Final = 4


class Refusal(Exception):  # noqa: N818 - an answer to the caller, not a defect
    """The API's answer to a bad request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a prefix of the prompt, and for how long it is to be kept."""

    characters: int
    life_seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A valid request, and its whole prompt as one text."""

    model: str
    max_tokens: int
    stream: bool
    prompt: str
    marks: tuple[Mark, ...] = ()
    """Where the caller asks for the prompt so far to be kept."""


def read_ask(body: bytes, *, counting: bool = False) -> Ask:
    """The request in `body`; `counting` is for count_tokens, which takes no `max_tokens`. Raises Refusal."""
    document = _parsed(body)
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model: Field required")
    max_tokens = 1 if counting else _checked_max_tokens(document.get("max_tokens"))
    messages = _checked_messages(document.get("messages"))
    if model not in _KNOWN:
        raise Refusal(404, f"model: {model[:128]}")
    _refuse_sampling(document, model)
    blocks = [*_blocks(document.get("system"), "system")]
    for position, message in enumerate(messages):
        blocks += _blocks(message["content"], f"messages.{position}.content")
    prompt = "\n".join(text for text, _ in blocks)
    return Ask(model, max_tokens, document.get("stream") is True, prompt, _marks(blocks))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "The request body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Refusal(400, "The request body must be a JSON object")
    return document


def _checked_max_tokens(value: object) -> int:
    if value is None:
        raise Refusal(400, "max_tokens: Field required")
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal(400, "max_tokens: Input should be a valid integer")
    if value < 1:
        raise Refusal(400, "max_tokens: Input should be greater than or equal to 1")
    if value > MAX_OUTPUT_TOKENS:
        raise Refusal(400, f"max_tokens: {value} > {MAX_OUTPUT_TOKENS}, which is the maximum allowed number of tokens")
    return value


def _checked_messages(value: object) -> list[dict[str, Any]]:
    if value is None:
        raise Refusal(400, "messages: Field required")
    if not isinstance(value, list):
        raise Refusal(400, "messages: Input should be a valid list")
    if not value:
        raise Refusal(400, "messages: at least one message is required")
    for position, message in enumerate(value):
        _check_message(position, message)
    if value[0]["role"] != "user":
        raise Refusal(400, 'messages: first message must use the "user" role')
    return value


def _check_message(position: int, message: object) -> None:
    if not isinstance(message, dict):
        raise Refusal(400, f"messages.{position}: Input should be an object")
    if message.get("role") not in ("user", "assistant"):
        raise Refusal(400, f"messages.{position}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise Refusal(400, f"messages.{position}.content: Field required")
    if not content:
        raise Refusal(400, f"messages.{position}: all messages must have non-empty content")


def _refuse_sampling(document: dict[str, Any], model: str) -> None:
    generation = _GENERATION.match(model)
    if generation is None or int(generation.group(1)) < _FIXED_SAMPLING_FROM:
        return
    for name in _SAMPLING:
        if document.get(name) is not None:
            raise Refusal(400, f"{name}: not supported by {model}")


def _blocks(content: object, place: str) -> list[tuple[str, float | None]]:
    """Each text, and how long the prompt up to its end is to be kept."""
    if isinstance(content, str):
        return [(content, None)]
    if not isinstance(content, list):
        return []
    texts = [block for block in content if isinstance(block, dict) and isinstance(block.get("text"), str)]
    return [(block["text"], _life_seconds(block.get("cache_control"), place)) for block in texts]


def _life_seconds(mark: object, place: str) -> float | None:
    if mark is None:
        return None
    life = mark.get("ttl") or "5m" if isinstance(mark, dict) and mark.get("type") == "ephemeral" else None
    if life not in _LIVES_SECONDS:
        raise Refusal(400, f"{place}.cache_control: Input should be of type 'ephemeral', ttl '5m' or '1h'")
    return _LIVES_SECONDS[life]


def _marks(blocks: list[tuple[str, float | None]]) -> tuple[Mark, ...]:
    marks, characters = [], 0
    for text, life_seconds in blocks:
        characters += len(text)
        if life_seconds is not None:
            marks.append(Mark(characters, life_seconds))
        characters += 1  # the joining line break
    if len(marks) > _MOST_MARKS:
        raise Refusal(400, f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {len(marks)}.")
    return tuple(marks)
