"""Builders and readers for tests of the sinks."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from schemas.codec import encode_request, encode_result
from schemas.record import OutgoingRecord, Record
from schemas.request import PromptRequest
from schemas.result import Answer, PromptResult, Timing
from schemas.topics import REQUESTS
from streams.sinks.port import Batch, ResultStore
from streams.sinks.reading import read
from tests.unit.events import A_TIME, AN_ID

_offsets = itertools.count()


def a_result(request_id: UUID = AN_ID, seconds: float = 1.0, **given: Any) -> PromptResult:
    """Completed `seconds` after it was accepted."""
    completed = A_TIME + timedelta(seconds=seconds)
    fields: dict[str, Any] = {
        "tenant": "meridian",
        "status": "completed",
        "answer": Answer(text="no shutdown"),
        "source": "model",
        "cost_usd": "0.000286",
        "timing": Timing(accepted_at=A_TIME, started_at=A_TIME, completed_at=completed),
    }
    return PromptResult.model_validate({"request_id": request_id, **fields, **given})


def as_record(written: OutgoingRecord, **given: Any) -> Record:
    offset = next(_offsets)
    place: dict[str, Any] = {"partition": 0, "offset": offset, "timestamp_ms": 1_000 + offset}
    fields = {name: getattr(written, name) for name in ("topic", "key", "value", "headers")}
    return Record(**(fields | place | given))


def a_batch(store: ResultStore, events: Sequence[PromptResult | PromptRequest]) -> Batch:
    """What a sink would hand to `store` after reading these."""
    reading = read([as_record(encoded(event)) for event in events], store)
    assert not reading.refused
    return Batch(reading.chunks)


def encoded(event: PromptResult | PromptRequest) -> OutgoingRecord:
    return encode_result(event) if isinstance(event, PromptResult) else encode_request(event, REQUESTS)
