"""What the stores keep of a result, flat: both ways of reading a record end here, and every row begins here."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from schemas.result import PromptResult

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class ResultFields(NamedTuple):
    """Ids are 16 bytes and moments microseconds since 1970: made faster than UUIDs and datetimes, and as exact."""

    request_id: bytes
    tenant: str
    department: str | None
    user_id: str | None
    application: str | None
    labels: dict[str, str]
    template: str | None
    status: str
    source: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    attempts: int
    queue_ms: int
    model_ms: int
    accepted_us: int
    started_us: int
    completed_us: int
    cost_usd: Decimal | None
    saved_usd: Decimal | None
    paid_by: bytes | None
    fingerprint: str | None
    error_code: str | None
    stop_reason: str | None
    error_message: str | None
    answer: str | None


Columns = Sequence[Sequence[Any]]
"""Of one or more results: a column for each of ResultFields, in that order."""


def fields_of(result: PromptResult) -> ResultFields:
    timing, usage, answer, error = result.timing, result.usage, result.answer, result.error
    return ResultFields(
        result.request_id.bytes,
        result.tenant,
        result.department,
        result.user_id,
        result.application,
        result.labels,
        result.template,
        result.status,
        result.source,
        result.model,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        result.attempts,
        timing.queue_ms,
        timing.model_ms,
        microseconds(timing.accepted_at),
        microseconds(timing.started_at),
        microseconds(timing.completed_at),
        result.cost_usd,
        result.saved_usd,
        result.paid_by.bytes if result.paid_by else None,
        result.fingerprint,
        error.code if error else None,
        answer.stop_reason if answer else None,
        error.message if error else None,
        answer.text if answer else None,
    )


def turned(results: Sequence[ResultFields]) -> Columns:
    """At least one result, turned."""
    return list(zip(*results, strict=True))


def microseconds(moment: datetime) -> int:
    """Since 1970, of an aware time."""
    return (moment - EPOCH) // _MICROSECOND
