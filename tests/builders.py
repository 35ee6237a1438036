"""What the answering core is given: records of requests, work let in, answers paid for; a test says what matters."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.codec import encode_request
from schemas.fingerprint import identify
from schemas.record import OutgoingRecord, Record
from schemas.request import PromptRequest
from schemas.result import Answer, PromptResult, Usage
from schemas.topics import REQUESTS
from streams.admission import Work
from streams.cache.port import CacheKey
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.model.port import ModelPrompt, ModelReply
from tests.unit.events import A_TIME, AN_ID, a_request

__all__ = ["AN_ID", "A_TIME", "Clock", "a_request"]  # the last is the one every test of events uses

MODEL = "claude-haiku-5-5"


class Clock:
    """A clock that moves only when told; a millisecond at every look where `ticking`."""

    def __init__(self, now: datetime = A_TIME, *, ticking: bool = False) -> None:
        self._now = now
        self._tick = timedelta(milliseconds=1 if ticking else 0)

    def __call__(self) -> datetime:
        self._now += self._tick
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


def an_id(number: int) -> UUID:
    """The request id number `number`."""
    return UUID(int=(0x0199F3A27C1E7D3A9B53 << 48) + number)


def a_record(offset: int = 0, partition: int = 0, generation: int = 1, value: bytes | None = b"{}") -> Record:
    """A record whose content does not matter."""
    return Record(REQUESTS, partition, offset, None, value, (), 1_000, generation)


def asking(request: PromptRequest, offset: int = 0, traceparent: str | None = None) -> Record:
    """The record of `request` as a worker reads it."""
    written = encode_request(request, REQUESTS, traceparent)
    return Record(REQUESTS, 0, offset, written.key, written.value, written.headers, 1_000, 1)


def result_in(written: OutgoingRecord) -> PromptResult:
    return PromptResult.model_validate_json(written.value or b"")


def some_work(request: PromptRequest | None = None, *, started_at: datetime = A_TIME, **given: Any) -> Work:
    """A request that was let in."""
    request = request or a_request(accepted_at=A_TIME)
    identified = identify(request, request.model or MODEL)
    fields: dict[str, Any] = {
        "record": asking(request),
        "request": request,
        "model": request.model or MODEL,
        "fingerprint": identified.fingerprint,
        "own": identified.own,
        "left_out": identified.left_out,
        "started_at": started_at,
        "attempts": 0,
        "traceparent": None,
    }
    return Work(**(fields | given))


def a_stored_answer(**given: Any) -> StoredAnswer:
    fields: dict[str, Any] = {
        "answer": Answer(text="vlan 110", stop_reason="end_turn"),
        "model": MODEL,
        "usage": Usage(input_tokens=100, output_tokens=20),
        "cost_usd": Decimal("0.0002"),
        "paid_by": an_id(1),
        "attempts": 1,
        "started_at": A_TIME,
        "completed_at": A_TIME + timedelta(seconds=1),
        "model_ms": 990,
        "expires_at": A_TIME + timedelta(hours=1),
    }
    return StoredAnswer(**(fields | given))


def an_entry(text: str = "vlan 110", expires_at: datetime = A_TIME + timedelta(hours=1)) -> CacheEntry:
    return CacheEntry.of(a_stored_answer(answer=Answer(text=text), expires_at=expires_at))


def a_key(name: str = "k") -> CacheKey:
    return CacheKey(f"headrace:test:{name}")


def a_prompt(content: str = "Which VLAN is native?") -> ModelPrompt:
    return ModelPrompt(MODEL, 512, None, [{"role": "user", "content": content}], str(AN_ID))


def a_reply(text: str = "vlan 110") -> ModelReply:
    return ModelReply(text, "end_turn", MODEL, Usage(input_tokens=100, output_tokens=20), 990)
