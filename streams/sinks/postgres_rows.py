"""Events as rows of Postgres' `requests`. Pure: at most one row per request, the same whatever order events came in."""

import json
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import REQUEST_TOPIC_OF_LANE
from streams.sinks.port import Item

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

Row = tuple[Any, ...]
PENDING: Final = "pending"

_NAMES: Final = tuple(COLUMNS)
_LANE: Final = _NAMES.index("lane")
_STATUS: Final = _NAMES.index("status")
_COMPLETED_AT: Final = _NAMES.index("completed_at")
_UNANSWERED: Final = (None,) * (len(_NAMES) - _COMPLETED_AT + 1)
_LANE_OF_TOPIC: Final[dict[str, str]] = {topic: lane for lane, topic in REQUEST_TOPIC_OF_LANE.items()}
_LARGEST: Final = 2**63 - 1


def rows_of(items: Iterable[Item]) -> tuple[list[Row], list[Row]]:
    """Results and pending requests, one row per request among both, ordered by id.

    The order keeps two writers from waiting for each other's rows crosswise.
    """
    rows: dict[tuple[UUID, str], Row] = {}
    for record, event in items:
        row = result_row(event) if isinstance(event, PromptResult) else pending_row(event, _LANE_OF_TOPIC[record.topic])
        key = (event.request_id, event.tenant)
        known = rows.setdefault(key, row)
        if known is not row:
            rows[key] = joined(known, row)
    ordered = [rows[key] for key in sorted(rows, key=_by_id)]
    return [row for row in ordered if row[_STATUS] != PENDING], [row for row in ordered if row[_STATUS] == PENDING]


def joined(one: Row, other: Row) -> Row:
    """What is known of one request from two rows: a result beats pending, the earlier completed beats the later."""
    first, second = sorted((one, other), key=_rank)
    lane = first[_LANE] or second[_LANE]
    return (*first[:_LANE], lane, *first[_LANE + 1 :])


def pending_row(request: PromptRequest, lane: str) -> Row:
    """A request that has no result yet. Its prompt is not kept here."""
    dimensions = _plain(
        (request.tenant, request.department, request.user_id, request.application, _labels(request.labels))
    )
    return (request.request_id, *dimensions, request.template, lane, PENDING, request.accepted_at, *_UNANSWERED)


def result_row(result: PromptResult) -> Row:
    timing, usage, answer, error = result.timing, result.usage, result.answer, result.error
    return (
        result.request_id,
        result.tenant,
        _text(result.department),
        _text(result.user_id),
        _text(result.application),
        _labels(result.labels),
        result.template,
        None,
        result.status,
        timing.accepted_at,
        timing.started_at,
        timing.completed_at,
        _count(timing.queue_ms),
        _count(timing.model_ms),
        result.source,
        _text(result.model),
        _count(usage.input_tokens),
        _count(usage.output_tokens),
        _count(usage.cache_read_tokens),
        _count(usage.cache_write_tokens),
        result.cost_usd,
        result.saved_usd,
        _count(result.attempts),
        result.paid_by,
        _text(result.fingerprint),
        _text(error.code) if error else None,
        _text(error.message) if error else None,
        _text(answer.text) if answer else None,
        _text(answer.stop_reason) if answer else None,
    )


def _by_id(key: tuple[UUID, str]) -> tuple[int, str]:
    return key[0].int, key[1]


def _rank(row: Row) -> tuple[bool, Any]:
    return (row[_STATUS] == PENDING, row[_COMPLETED_AT] or row[_COMPLETED_AT - 2])


def _plain(texts: tuple[str | None, ...]) -> tuple[str | None, ...]:
    return tuple(_text(text) for text in texts)


def _text(text: str | None) -> str | None:
    """Postgres' text cannot hold NUL; the mark for an unreadable character stands for it."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return "{}"
    return json.dumps({name: _text(value) for name, value in labels.items()}, ensure_ascii=False, separators=(",", ":"))


def _count(number: int) -> int:
    """At most what a bigint holds: a count beyond it is nobody's, and must not cost its neighbours their write."""
    return min(number, _LARGEST)
