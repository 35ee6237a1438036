"""Results as rows of ClickHouse's `llm_results`, in Arrow's columns: the form that costs this process least. Pure."""

from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from streams.sinks.plain_columns import Known
from streams.sinks.port import BadRow
from streams.sinks.result_fields import Columns, ResultFields, microseconds

_TEXT: Final = "answer"
_ID: Final = pa.binary(16)
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_MONEY: Final = pa.decimal128(18, 9)
_LARGEST_AMOUNT: Final = Decimal("999999999.999999999")
_SMALLEST_AMOUNT: Final = Decimal("1e-9")
# What DateTime64(6) can hold; a time beyond is moved to the bound.
_EARLIEST_US: Final = microseconds(datetime(1900, 1, 1, tzinfo=UTC))
_LATEST_US: Final = microseconds(datetime(2299, 12, 31, tzinfo=UTC))

Encoder = Callable[[Sequence[Any]], Any]
"""From a column's values to an array of Arrow's."""


def rows_of(columns: Columns, *, with_text: bool) -> pa.RecordBatch:
    """A row for each result. Prompts are never in it, the answer only `with_text`.

    Raises BadRow where a value fits no column.
    """
    values = dict(zip(ResultFields._fields, columns, strict=True))
    names = [name for name in FIELD_OF if with_text or name != _TEXT]
    try:
        arrays = [_ENCODERS[field](values[field]) for field in map(FIELD_OF.__getitem__, names)]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise BadRow("ClickHouse", type(error).__name__) from None
    return pa.RecordBatch.from_arrays(arrays, names)


def _array(values: Sequence[Any], kind: pa.DataType) -> Any:
    if values.count(values[0]) == len(values):  # as most columns of few rows; and then so fast that the rest may pay
        return pa.repeat(pa.scalar(values[0], kind), len(values))
    return pa.array(values, kind)


def _ids(values: Sequence[bytes | None]) -> Any:
    if None in values:
        return pa.array(values, _ID)
    together = pa.py_buffer(b"".join(cast("Sequence[bytes]", values)))
    return pa.FixedSizeBinaryArray.from_buffers(_ID, len(values), [None, together])


def _texts(values: Sequence[str | None]) -> Any:
    return _array(values, pa.string())


def _texts_or_empty(values: Sequence[str | None]) -> Any:
    return _texts([text or "" for text in values] if None in values else values)


def _labels(values: Sequence[dict[str, str]]) -> Any:
    ends = pa.array([0, *accumulate(map(len, values))], pa.int32())
    keys, texts = chain.from_iterable(values), chain.from_iterable(map(dict.values, values))
    return pa.MapArray.from_arrays(ends, pa.array(keys, pa.string()), pa.array(texts, pa.string()))


def _counts(values: Sequence[int]) -> Any:
    try:
        numbers = array("q", values)  # 63 bits, as in Postgres: so that both stores refuse the same row
    except OverflowError:
        raise BadRow("ClickHouse", "a count does not fit 63 bits") from None
    return _numbers(numbers).view(pa.uint64())


def _numbers(numbers: "array[int] | memoryview[int]") -> Any:
    """An array of Arrow's of 64-bit numbers, without a copy of them."""
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _moments(values: Sequence[int]) -> Any:
    numbers = _numbers(values if isinstance(values, memoryview) else array("q", values))
    found = pc.min_max(numbers).as_py()
    if found["min"] < _EARLIEST_US or found["max"] > _LATEST_US:
        numbers = pc.max_element_wise(pc.min_element_wise(numbers, _LATEST_US), _EARLIEST_US)
    return numbers.view(_MOMENT)


def _amounts(values: Sequence[Decimal | None]) -> Any:
    """Money is rounded to a billionth of a dollar, and never moved to a bound: what does not fit is a bad row."""
    if set(map(type, values)) != {Decimal}:
        return pa.array([None if amount is None else _rounded(amount) for amount in values], _MONEY)
    together = pa.py_buffer(b"".join(map(_BILLIONTHS.__getitem__, values)))
    return pa.Array.from_buffers(_MONEY, len(values), [None, together])


def _rounded(amount: Decimal) -> Decimal:
    if not -_LARGEST_AMOUNT <= amount <= _LARGEST_AMOUNT:
        raise BadRow("ClickHouse", "an amount of a billion dollars or more does not fit Decimal(18, 9)")
    return amount.quantize(_SMALLEST_AMOUNT)


def _billionths(amount: Decimal) -> bytes:
    """As Arrow holds them: 128 bits, the lowest first."""
    return int(_rounded(amount).scaleb(9)).to_bytes(16, "little", signed=True)


_BILLIONTHS: Final = Known(_billionths)
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
