"""Builders for tests of the results feed: events by place, frames taken apart."""

from typing import Any, NamedTuple
from uuid import UUID

import orjson

from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.record import Record
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent
from tests.sinks import a_result


def an_event(
    partition: int, offset: int, tenant: str = "meridian", request_id: UUID | None = None, **given: Any
) -> ResultEvent:
    written = encode_result(a_result(request_id or uuid7(), tenant=tenant, **given))
    return ResultEvent(Record(RESULTS, partition, offset, None, written.value, written.headers, 1_000))


class Seen(NamedTuple):
    """One event as a client has it."""

    event: str
    id: str | None
    data: Any


def frames_in(piece: bytes) -> list[Seen]:
    """Events and bare ids of a stream's piece, as the standard reads them; comments are passed over."""
    frames: list[Seen] = []
    for block in piece.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields or "id" in fields:
            data = orjson.loads(fields["data"]) if "data" in fields else None
            frames.append(Seen(fields.get("event", ""), fields.get("id"), data))
    return frames


def ids_in(frames: list[Seen]) -> list[str]:
    """The request ids of results, in order."""
    return [each.data["request_id"] for each in frames if each.event == "result"]
