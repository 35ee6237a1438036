"""Results as rows and columns of ClickHouse's `llm_results`. Pure; in the forms the client writes fastest."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from schemas.result import PromptResult
from streams.sinks.port import BadRow, Row

COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "attempts")
DURATIONS: Final = ("queue_ms", "model_ms")
MOMENTS: Final = ("accepted_at", "started_at", "completed_at")
MONEY: Final = ("cost_usd", "saved_usd")
TEXT: Final = "answer"
COLUMNS: Final = (
    *("request_id", "tenant", "department", "user_id", "application", "labels", "template", "status", "source"),
    *("model", *COUNTS, *DURATIONS, *MOMENTS, *MONEY, "paid_by", "fingerprint", "error_code", "stop_reason", TEXT),
)
"""In the order of the row."""

_LARGEST_COUNT: Final = 2**63 - 1  # as in Postgres, so that both stores refuse the same row
_MONEY_BOUND: Final = Decimal(10**9)  # Decimal(18, 9) has nine digits before the point
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What DateTime64(6) can hold; a time beyond is moved to the bound.
_EARLIEST_US: Final = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST_US: Final = (datetime(2299, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND


def row_of(result: PromptResult, *, with_text: bool) -> Row:
    """The row of a result. Prompts are never in it, the answer only `with_text`."""
    timing, usage, answer = result.timing, result.usage, result.answer
    return (
        result.request_id.int,
        result.tenant,
        result.department or "",
        result.user_id or "",
        result.application or "",
        result.labels,
        result.template or "",
        result.status,
        result.source or "",
        result.model or "",
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        result.attempts,
        timing.queue_ms,
        timing.model_ms,
        (timing.accepted_at - _EPOCH) // _MICROSECOND,
        (timing.started_at - _EPOCH) // _MICROSECOND,
        (timing.completed_at - _EPOCH) // _MICROSECOND,
        result.cost_usd,
        result.saved_usd,
        result.paid_by.int if result.paid_by else None,
        result.fingerprint or "",
        result.error.code if result.error else "",
        (answer.stop_reason or "") if answer else "",
        answer.text if answer and with_text else None,
    )


def columns_of(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """At least one row, turned. Raises BadRow where a number fits no column."""
    columns: dict[str, Sequence[Any]] = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    for name in (*COUNTS, *DURATIONS):
        if max(columns[name]) > _LARGEST_COUNT:
            raise BadRow("ClickHouse", f"{name} does not fit 63 bits")
    for name in MOMENTS:
        columns[name] = _bounded(columns[name])
    for name in MONEY:
        columns[name] = _money(columns[name])
    return columns


def _bounded(moments: Sequence[int]) -> Sequence[int]:
    if min(moments) >= _EARLIEST_US and max(moments) <= _LATEST_US:
        return moments
    return [min(max(moment, _EARLIEST_US), _LATEST_US) for moment in moments]


def _money(amounts: Sequence[Decimal | None]) -> Sequence[Decimal | None]:
    """Amounts as they are. Money is never moved to a bound: an amount that does not fit is a bad row."""
    if any(amount is not None and not -_MONEY_BOUND < amount < _MONEY_BOUND for amount in amounts):
        raise BadRow("ClickHouse", "an amount of a billion dollars or more does not fit Decimal(18, 9)")
    return amounts
