"""Rows of Postgres' `requests` in the binary form of COPY. Pure; column by column, a loop over one is a loop in C."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, repeat
from typing import Any, Final

import orjson
from psycopg.types.numeric import DecimalBinaryDumper

from streams.sinks.plain_columns import Known
from streams.sinks.port import Row
from streams.sinks.postgres_rows import COLUMNS
from streams.sinks.result_fields import microseconds

_AT_ONCE: Final = 500
"""So few that the server reads the first rows while the next ones are written."""

_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_FIELDS: Final = struct.pack(">h", len(COLUMNS))
_NULL: Final = b"\xff\xff\xff\xff"
_ID: Final = (16).to_bytes(4, "big")
_JSONB_VERSION: Final = b"\x01"
_ZERO_US: Final = microseconds(datetime(2000, 1, 1, tzinfo=UTC))
_SELDOM_TWICE: Final = {"fingerprint", "error_message", "answer"}
_long: Final = struct.Struct(">iq").pack
_amount: Final = DecimalBinaryDumper(Decimal).dump

Encoder = Callable[[Sequence[Any]], Iterable[bytes]]
"""From a column's values to its fields, each behind its length."""


def copied(rows: Sequence[Row]) -> Iterator[bytes]:
    """All that COPY is to be sent, in pieces. Raises OverflowError where a number fits no column."""
    yield _BEGIN
    for at in range(0, len(rows), _AT_ONCE):
        yield _together(rows[at : at + _AT_ONCE])
    yield _END


def _together(rows: Sequence[Row]) -> bytes:
    columns = [encode(values) for encode, values in zip(_ENCODERS, zip(*rows, strict=True), strict=True)]
    try:
        return b"".join(chain.from_iterable(zip(repeat(_FIELDS, len(rows)), *columns, strict=True)))
    except struct.error:
        raise OverflowError("a number does not fit 64 bits") from None


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _ids(values: Sequence[bytes | None]) -> Iterable[bytes]:
    return [_NULL if value is None else _ID + value for value in values]


def _texts(values: Sequence[str | None]) -> Iterable[bytes]:
    return map(_TEXTS.__getitem__, values)


def _text(value: str | None) -> bytes:
    return _NULL if value is None else _field(value.encode())


def _long_texts(values: Sequence[str | None]) -> Iterable[bytes]:
    return map(_text, values)


def _labels(values: Sequence[dict[str, str]]) -> Iterable[bytes]:
    return [_field(_JSONB_VERSION + orjson.dumps(value)) for value in values]


def _longs(values: Sequence[int | None]) -> Iterable[bytes]:
    if None in values:
        return [_NULL if value is None else _long(8, value) for value in values]
    return map(_long, repeat(8), values)


def _moments(values: Sequence[int | None]) -> Iterable[bytes]:
    return _longs([None if value is None else value - _ZERO_US for value in values])


def _amounts(values: Sequence[Decimal | None]) -> Iterable[bytes]:
    return [_NULL if value is None else _AMOUNTS[str(value)] for value in values]


def _amount_of(text: str) -> bytes:
    # By its text, as equal amounts may differ in their digits.
    return _field(bytes(_amount(Decimal(text)) or b""))


_TEXTS: Final = Known(_text)
_AMOUNTS: Final = Known(_amount_of)
_ENCODER_OF: Final[dict[str, Encoder]] = {
    "uuid": _ids,
    "text": _texts,
    "jsonb": _labels,
    "timestamptz": _moments,
    "int8": _longs,
    "numeric": _amounts,
}
_ENCODERS: Final = [_long_texts if name in _SELDOM_TWICE else _ENCODER_OF[kind] for name, kind in COLUMNS.items()]
