"""A request put aside until it is due again, and its way back: everything about it stands in headers."""

from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.dead_letter import DecodeError, kept_headers
from schemas.record import Headers, OutgoingRecord, Record
from schemas.topics import REQUEST_TOPIC_OF_LANE, RETRY

ORIGINAL_TOPIC: Final = "x-original-topic"
ATTEMPT: Final = "x-attempt"
DUE_AT: Final = "x-due-at"
FIRST_SEEN: Final = "x-first-seen"
ERROR_TYPE: Final = "x-error-type"

LONGEST_DELAY: Final = timedelta(days=1)
"""A due time further from the record's own is none of ours: the topic's retention would end it before it is due."""

_MOST_ATTEMPTS: Final = 1_000
_LONGEST_REASON: Final = 100
_DIGITS_OF_MILLISECONDS: Final = 15
_REQUEST_TOPICS: Final = frozenset(REQUEST_TOPIC_OF_LANE.values())


def retry_record_of(record: Record, due_at: datetime, attempt: int, reason: str) -> OutgoingRecord:
    """`record` as it waits: key and value untouched. `attempt` counts the attempts burnt so far, this one included."""
    headers = (
        *kept_headers(record.headers),
        *_as_headers(
            (ORIGINAL_TOPIC, record.topic),
            (ATTEMPT, str(attempt)),
            (DUE_AT, due_at.astimezone(UTC).isoformat()),
            (FIRST_SEEN, str(first_seen_of(record))),
            (ERROR_TYPE, reason[:_LONGEST_REASON]),
        ),
    )
    return OutgoingRecord(RETRY, record.key, record.value, headers)


def back_to_request_topic(record: Record) -> OutgoingRecord:
    """The waiting record as it returns to the topic it came from. Raises DecodeError where that is no request topic."""
    topic = record.header(ORIGINAL_TOPIC)
    if topic not in _REQUEST_TOPICS:
        known = " or ".join(sorted(_REQUEST_TOPICS))
        raise DecodeError("invalid_event", f"{ORIGINAL_TOPIC} must name {known} on the retry topic")
    added = _as_headers((ATTEMPT, str(attempts_of(record))), (FIRST_SEEN, str(first_seen_of(record))))
    return OutgoingRecord(topic, record.key, record.value, (*kept_headers(record.headers), *added))


def attempts_of(record: Record) -> int:
    """Attempts burnt on this request so far; 0 where nothing readable says so."""
    text = record.header(ATTEMPT) or ""
    return min(int(text), _MOST_ATTEMPTS) if _is_number(text) else 0


def first_seen_of(record: Record) -> int:
    """When the request was first stamped, in milliseconds since 1970; the record's own time before any retry."""
    text = record.header(FIRST_SEEN) or ""
    return int(text) if _is_number(text) else record.timestamp_ms


def due_at_of(record: Record) -> datetime | None:
    """When the record is to go back; None, at once, where no due time of ours can be read."""
    try:
        due_at = datetime.fromisoformat(record.header(DUE_AT) or "")
        put_aside = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
        return None if due_at.tzinfo is None or due_at - put_aside > LONGEST_DELAY else due_at
    except (ValueError, OverflowError, OSError):
        return None


def _as_headers(*texts: tuple[str, str]) -> Headers:
    return tuple((name, text.encode(errors="replace")) for name, text in texts)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_OF_MILLISECONDS
