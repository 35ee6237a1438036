"""Results as rows and columns of ClickHouse's `llm_results`. Pure; in the forms the client writes fastest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from streams.sinks.port import BadRow, Row
from streams.sinks.result_fields import ResultFields, microseconds

COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "attempts")
DURATIONS: Final = ("queue_ms", "model_ms")
MOMENTS: Final = ("accepted_at", "started_at", "completed_at")
MONEY: Final = ("cost_usd", "saved_usd")
TEXT: Final = "answer"
_EMPTY_WITHOUT: Final = (
    *("department", "user_id", "application", "template", "source", "model"),
    *("fingerprint", "error_code", "stop_reason"),
)
COLUMNS: Final = (
    *("request_id", "tenant", "department", "user_id", "application", "labels", "template", "status", "source"),
    *("model", *COUNTS, *DURATIONS, *MOMENTS, *MONEY, "paid_by", "fingerprint", "error_code", "stop_reason", TEXT),
)
"""In the order of the row, which is that of a result's fields. A row without the text ends before it."""

_BEFORE_TEXT: Final = COLUMNS.index(TEXT)
_LARGEST_COUNT: Final = 2**63 - 1  # as in Postgres, so that both stores refuse the same row
_MONEY_BOUND: Final = Decimal(10**9)  # Decimal(18, 9) has nine digits before the point
# What DateTime64(6) can hold; a time beyond is moved to the bound.
_EARLIEST_US: Final = microseconds(datetime(1900, 1, 1, tzinfo=UTC))
_LATEST_US: Final = microseconds(datetime(2299, 12, 31, tzinfo=UTC))


def row_of(result: ResultFields, *, with_text: bool) -> Row:
    """The row of a result. Prompts are never in it, the answer only `with_text`."""
    return (*result[:_BEFORE_TEXT], result.answer) if with_text else result[:_BEFORE_TEXT]


def columns_of(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """At least one row, turned; all with the text or all without. Raises BadRow where a number fits no column."""
    columns: dict[str, Sequence[Any]] = dict(zip(COLUMNS, zip(*rows, strict=True), strict=False))
    for name in _EMPTY_WITHOUT:
        columns[name] = [text or "" for text in columns[name]]
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
    known = [amount for amount in amounts if amount is not None]
    if known and not -_MONEY_BOUND < min(known) <= max(known) < _MONEY_BOUND:
        raise BadRow("ClickHouse", "an amount of a billion dollars or more does not fit Decimal(18, 9)")
    return amounts
