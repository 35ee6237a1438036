"""Results as rows of ClickHouse's `llm_results`, in Arrow's columns: the form that costs this process least. Pure."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa

from streams.sinks.port import BadRow
from streams.sinks.result_fields import Columns, ResultFields, microseconds

_TEXT: Final = "answer"
_ID: Final = pa.binary(16)
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_MONEY: Final = pa.decimal128(18, 9)
_MONEY_BOUND: Final = Decimal(10**9)  # nine digits before the point
_SMALLEST_AMOUNT: Final = Decimal("1e-9")
_LARGEST_COUNT: Final = 2**63 - 1  # as in Postgres, so that both stores refuse the same row
# What DateTime64(6) can hold; a time beyond is moved to the bound.
_EARLIEST_US: Final = microseconds(datetime(1900, 1, 1, tzinfo=UTC))
_LATEST_US: Final = microseconds(datetime(2299, 12, 31, tzinfo=UTC))

Encoder = Callable[[Sequence[Any]], Any]
"""From a column's values to an array of Arrow's."""


def rows_of(columns: Columns, *, with_text: bool) -> pa.RecordBatch:
    """A row for each result. Prompts are never in it, the answer only `with_text`.

    Raises BadRow where a value fits no column.
    """
    try:
        values = dict(zip(ResultFields._fields, columns, strict=True))
        arrays = {
            name: _ENCODERS[field](values[field]) for name, field in FIELD_OF.items() if with_text or name != _TEXT
        }
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise BadRow("ClickHouse", type(error).__name__) from None
    return pa.record_batch(arrays)


def _ids(values: Sequence[bytes | None]) -> Any:
    return pa.array(values, _ID)


def _texts(values: Sequence[str | None]) -> Any:
    return pa.array(values, pa.string())


def _texts_or_empty(values: Sequence[str | None]) -> Any:
    return _texts([text or "" for text in values])


def _labels(values: Sequence[dict[str, str]]) -> Any:
    ends = pa.array([0, *accumulate(map(len, values))], pa.int32())
    keys, texts = chain.from_iterable(values), chain.from_iterable(map(dict.values, values))
    return pa.MapArray.from_arrays(ends, _texts(list(keys)), _texts(list(texts)))


def _counts(values: Sequence[int]) -> Any:
    if max(values) > _LARGEST_COUNT:
        raise BadRow("ClickHouse", "a count does not fit 63 bits")
    return pa.array(values, pa.uint64())


def _moments(values: Sequence[int]) -> Any:
    if min(values) < _EARLIEST_US or max(values) > _LATEST_US:
        values = [min(max(moment, _EARLIEST_US), _LATEST_US) for moment in values]
    return pa.array(values, pa.int64()).cast(_MOMENT)


def _amounts(values: Sequence[Decimal | None]) -> Any:
    """Money is rounded to a billionth of a dollar, and never moved to a bound: what does not fit is a bad row."""
    known = {amount for amount in values if amount is not None}
    if known and not -_MONEY_BOUND < min(known) <= max(known) < _MONEY_BOUND:
        raise BadRow("ClickHouse", "an amount of a billion dollars or more does not fit Decimal(18, 9)")
    rounded = {amount: amount.quantize(_SMALLEST_AMOUNT) for amount in known}
    return pa.array([None if amount is None else rounded[amount] for amount in values], _MONEY)


_OTHER_NAMES: Final = {"accepted_us": "accepted_at", "started_us": "started_at", "completed_us": "completed_at"}
_ENCODERS: Final[dict[str, Encoder]] = {
    **dict.fromkeys(("request_id", "paid_by"), _ids),
    **dict.fromkeys(("tenant", "department", "user_id", "application", "template", "status"), _texts_or_empty),
    **dict.fromkeys(("source", "model", "fingerprint", "error_code", "stop_reason"), _texts_or_empty),
    "labels": _labels,
    **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), _counts),
    **dict.fromkeys(("attempts", "queue_ms", "model_ms"), _counts),
    **dict.fromkeys(_OTHER_NAMES, _moments),
    **dict.fromkeys(("cost_usd", "saved_usd"), _amounts),
    _TEXT: _texts,
}
FIELD_OF: Final = {_OTHER_NAMES.get(field, field): field for field in _ENCODERS}
"""Every column that is written, and the field of a result that it holds."""
