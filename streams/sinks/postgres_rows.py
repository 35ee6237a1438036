"""Events as rows of Postgres' `requests`. Pure: at most one row per request, the same whatever order events came in."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from schemas.record import Record
from schemas.request import PromptRequest
from schemas.topics import REQUEST_TOPIC_OF_LANE
from streams.sinks.port import Event, Row
from streams.sinks.result_fields import EPOCH, ResultFields

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
_COMPLETED_AT: Final = _NAMES.index("completed_at")
_UNANSWERED: Final = (None,) * (len(_NAMES) - _COMPLETED_AT + 1)
_LANE_OF_TOPIC: Final[dict[str, str]] = {topic: lane for lane, topic in REQUEST_TOPIC_OF_LANE.items()}
_ESCAPED_NUL: Final = b"\\u0000"


def row_of(record: Record, event: Event) -> Row:
    """The row of an event, fit for Postgres."""
    row = result_row(event) if isinstance(event, ResultFields) else pending_row(event, _LANE_OF_TOPIC[record.topic])
    return tuple(_without_nul(value) for value in row) if _ESCAPED_NUL in (record.value or b"") else row


def merged(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Results and pending requests, one row per request among both, ordered by id.

    The order keeps two writers from waiting for each other's rows crosswise.
    """
    known: dict[tuple[UUID, str], Row] = {}
    for row in rows:
        first = known.setdefault(row[:2], row)
        if first is not row:
            known[first[0], first[1]] = joined(first, row)
    ordered = sorted(known.values(), key=_by_id)
    return [row for row in ordered if row[_STATUS] != PENDING], [row for row in ordered if row[_STATUS] == PENDING]


def joined(one: Row, other: Row) -> Row:
    """What is known of one request from two rows: a result beats pending, the earlier completed beats the later."""
    first, second = sorted((one, other), key=_rank)
    lane = first[_LANE] or second[_LANE]
    return (*first[:_LANE], lane, *first[_LANE + 1 :])


def pending_row(request: PromptRequest, lane: str) -> Row:
    """A request that has no result yet. Its prompt is not kept here."""
    return (
        request.request_id,
        request.tenant,
        request.department,
        request.user_id,
        request.application,
        request.labels,
        request.template,
        lane,
        PENDING,
        request.accepted_at,
        *_UNANSWERED,
    )


def result_row(result: ResultFields) -> Row:
    request_id = UUID(int=result.request_id)
    paid_by = result.paid_by
    return (
        request_id,
        result.tenant,
        result.department,
        result.user_id,
        result.application,
        result.labels,
        result.template,
        None,
        result.status,
        _moment(result.accepted_us),
        _moment(result.started_us),
        _moment(result.completed_us),
        result.queue_ms,
        result.model_ms,
        result.source,
        result.model,
        result.input_tokens,
        result.output_tokens,
        result.cache_read_tokens,
        result.cache_write_tokens,
        result.cost_usd,
        result.saved_usd,
        result.attempts,
        request_id if paid_by == result.request_id else None if paid_by is None else UUID(int=paid_by),
        result.fingerprint,
        result.error_code,
        result.error_message,
        result.answer,
        result.stop_reason,
    )


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(0, 0, microseconds)


def _by_id(row: Row) -> tuple[int, str]:
    return row[0].int, row[1]


def _rank(row: Row) -> tuple[bool, Any]:
    return (row[_STATUS] == PENDING, row[_COMPLETED_AT] or row[_COMPLETED_AT - 2])


def _without_nul(value: Any) -> Any:
    """Postgres' text cannot hold NUL; the mark for an unreadable character stands for it."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(text) for name, text in value.items()}
    return value
