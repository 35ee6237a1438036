"""Events as rows of Postgres' `requests`. Pure: at most one row per request, the same whatever order events came in."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, Final
from uuid import UUID

from schemas.record import Record, columns_of
from schemas.request import PromptRequest
from schemas.topics import REQUEST_TOPIC_OF_LANE
from streams.sinks.port import Row
from streams.sinks.result_fields import EPOCH, Columns, ResultFields, microseconds

COLUMNS: Final = {
    "request_id": "uuid",
    "tenant": "text",
    "department": "text",
    "user_id": "text",
    "application": "text",
    "labels": "jsonb",
    "template": "text",
    "lane": "text",
    "status": "text",
    "accepted_at": "timestamptz",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
    "queue_ms": "int8",
    "model_ms": "int8",
    "source": "text",
    "model": "text",
    "input_tokens": "int8",
    "output_tokens": "int8",
    "cache_read_tokens": "int8",
    "cache_write_tokens": "int8",
    "cost_usd": "numeric",
    "saved_usd": "numeric",
    "attempts": "int8",
    "paid_by": "uuid",
    "fingerprint": "text",
    "error_code": "text",
    "error_message": "text",
    "answer": "text",
    "stop_reason": "text",
}
"""Name and Postgres type of every column a row has, in the order of the row."""

PENDING: Final = "pending"

_NAMES: Final = tuple(COLUMNS)
_LANE: Final = _NAMES.index("lane")
_STATUS: Final = _NAMES.index("status")
_ACCEPTED_AT: Final = _NAMES.index("accepted_at")
_COMPLETED_AT: Final = _NAMES.index("completed_at")
_UNANSWERED: Final = (None,) * (len(_NAMES) - _COMPLETED_AT + 1)
_FIELD_OF: Final = {"accepted_at": "accepted_us", "started_at": "started_us", "completed_at": "completed_us"}
_PLACES: Final = [ResultFields._fields.index(_FIELD_OF.get(name, name)) for name in _NAMES if name != "lane"]
_LANE_OF_TOPIC: Final[dict[str, str]] = {topic: lane for lane, topic in REQUEST_TOPIC_OF_LANE.items()}
_ESCAPED_NUL: Final = b"\\u0000"


def result_rows(records: Sequence[Record], columns: Columns) -> list[Row]:
    """The rows of results, fit for Postgres. Ids are bytes and moments microseconds since 1970."""
    ordered: list[Iterable[Any]] = [columns[place] for place in _PLACES]
    ordered.insert(_LANE, repeat(None, len(records)))
    return _fit(records, list(zip(*ordered, strict=True)))


def pending_rows(records: Sequence[Record], requests: Sequence[PromptRequest]) -> list[Row]:
    """The rows of requests that have no result yet, fit for Postgres."""
    lanes = map(_LANE_OF_TOPIC.__getitem__, columns_of(records).topic)
    return _fit(records, list(map(pending_row, requests, lanes)))


def _fit(records: Sequence[Record], rows: list[Row]) -> list[Row]:
    for number, value in enumerate(columns_of(records).value):
        if _ESCAPED_NUL in (value or b""):
            rows[number] = tuple(map(_without_nul, rows[number]))
    return rows


def readable(row: Row) -> Row:
    """The same row with UUIDs and datetimes, as psycopg reads it and takes it."""
    return tuple(
        _READABLE[kind](value) if kind in _READABLE and value is not None else value
        for kind, value in zip(COLUMNS.values(), row, strict=True)
    )


def merged(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Results and pending requests, one row per request among both, ordered by id.

    The order keeps two writers from waiting for each other's rows crosswise.
    """
    known: dict[tuple[bytes, str], Row] = {}
    for row in rows:
        first = known.setdefault(row[:2], row)
        if first is not row:
            known[first[0], first[1]] = joined(first, row)
    ordered = [known[key] for key in sorted(known)]
    return [row for row in ordered if row[_STATUS] != PENDING], [row for row in ordered if row[_STATUS] == PENDING]


def joined(one: Row, other: Row) -> Row:
    """What is known of one request from two rows: a result beats pending, the earlier completed beats the later."""
    first, second = sorted((one, other), key=_rank)
    lane = first[_LANE] or second[_LANE]
    return (*first[:_LANE], lane, *first[_LANE + 1 :])


def pending_row(request: PromptRequest, lane: str) -> Row:
    """A request that has no result yet. Its prompt is not kept here."""
    return (
        request.request_id.bytes,
        request.tenant,
        request.department,
        request.user_id,
        request.application,
        request.labels,
        request.template,
        lane,
        PENDING,
        microseconds(request.accepted_at),
        *_UNANSWERED,
    )


def _moment(since_1970_us: int) -> datetime:
    return EPOCH + timedelta(0, 0, since_1970_us)


def _rank(row: Row) -> tuple[bool, Any]:
    completed_us, accepted_us = row[_COMPLETED_AT], row[_ACCEPTED_AT]
    return (row[_STATUS] == PENDING, accepted_us if completed_us is None else completed_us)


def _without_nul(value: Any) -> Any:
    """Postgres' text cannot hold NUL; the mark for an unreadable character stands for it."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(text) for name, text in value.items()}
    return value


_READABLE: Final[dict[str, Callable[[Any], Any]]] = {"uuid": lambda number: UUID(bytes=number), "timestamptz": _moment}
