"""A record nobody could use, kept as it came, with where it came from and why."""

from datetime import datetime
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from schemas.record import Headers, OutgoingRecord, Record
from schemas.topics import DEAD_LETTERS

Reason = Literal[
    "empty_value",
    "oversize",
    "not_json",
    "invalid_event",
    "unknown_type",
    "invalid_request",
    "unreadable_record",
    "crash_loop",
    "refused_by_store",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

# Headers are copied only by these names: any other may hold a secret, and headers are shown to operators.
_KEPT: Final = ("content-type", "traceparent", "tracestate", "idempotency-key")


class DecodeError(Exception):
    """These bytes are no event of ours; `message` names fields and rules, never the content."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason: Reason = reason
        self.message = message


class DeadLetterHeaders(BaseModel):
    """What every dead letter adds to the original's `ce_*` and trace headers; the value is the original's."""

    model_config = ConfigDict(
        populate_by_name=True, extra="forbid", alias_generator=lambda name: name.replace("_", "-")
    )

    x_original_topic: str
    x_original_partition: int
    x_original_offset: int
    x_original_timestamp: int
    """Milliseconds since 1970, as the broker had it."""
    x_error_type: Reason
    x_error_message: str
    x_dead_lettered_at: datetime


def dead_letter_of(record: Record, error: DecodeError, now: datetime) -> OutgoingRecord:
    """The dead letter for `record`: its key and value untouched, origin and reason in headers."""
    about = DeadLetterHeaders(
        x_original_topic=record.topic,
        x_original_partition=record.partition,
        x_original_offset=record.offset,
        x_original_timestamp=record.timestamp_ms,
        x_error_type=error.reason,
        x_error_message=error.message,
        x_dead_lettered_at=now,
    )
    added = (
        (name, str(value).encode(errors="replace"))
        for name, value in about.model_dump(mode="json", by_alias=True).items()
    )
    return OutgoingRecord(DEAD_LETTERS, record.key, record.value, (*kept_headers(record.headers), *added))


def kept_headers(headers: Headers) -> Headers:
    """Those that may go on with a record: the event's and the trace's."""
    return tuple((name, value) for name, value in headers if name in _KEPT or name.startswith("ce_"))
