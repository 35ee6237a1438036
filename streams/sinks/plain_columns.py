"""Columns of a result's JSON, checked and made into what the stores take. Pure; each fails as a whole or not at all."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from streams.sinks.result_fields import microseconds

_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 256
_ID_CHARACTERS, _ID_BYTES = 36, 16
_ID_DASHES: Final = (8, 13, 18, 23)
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
_MOMENT_LENGTHS: Final = {len("2026-11-02T09:00:00Z"), len("2026-11-02T09:00:00.003000Z")}
_last: Final = itemgetter(-1)
_YEAR_1_US: Final = microseconds(datetime(1, 1, 1, tzinfo=UTC))

Texts = Sequence[Any]


class UnsureError(Exception):
    """Not as our own workers write it, which need not be wrong."""


class Known(dict[Any, Any]):
    """What was read before, by its text: names, labels and amounts come again and again."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: Any) -> Any:
        value = self._read(text)
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[text] = value
        return value


def ids(texts: Texts) -> Sequence[bytes]:
    """The 16 bytes each of UUIDs in their usual form."""
    together = "".join(texts)
    number = bytes.fromhex(together.replace("-", ""))  # passes over spaces, so the bytes are counted too
    dashes = "".join(together[at::_ID_CHARACTERS] for at in _ID_DASHES)
    if (
        set(map(len, texts)) != {_ID_CHARACTERS}
        or dashes != "-" * len(_ID_DASHES) * len(texts)
        or len(number) != _ID_BYTES * len(texts)
    ):
        raise UnsureError
    return [number[at : at + _ID_BYTES] for at in range(0, len(number), _ID_BYTES)]


def ids_or_none(texts: Texts) -> Sequence[bytes | None]:
    if None not in texts:
        return ids(texts)
    found = iter(ids([text for text in texts if text is not None] or [_NO_ID]))
    return [text if text is None else next(found) for text in texts]


def moments(texts: Texts) -> Sequence[int]:
    """Microseconds since 1970, of times in UTC with no fraction or with six digits of one; 64 bits each."""
    # Arrow holds the digits and the calendar; of these two lengths and in UTC it takes no other form.
    if not set(map(len, texts)) <= _MOMENT_LENGTHS or set(map(_last, texts)) != {"Z"}:
        raise UnsureError
    parsed = pa.array(texts, pa.string()).cast(pa.timestamp("us", tz="UTC"))
    if pc.min(parsed.view(pa.int64())).as_py() < _YEAR_1_US:
        raise UnsureError
    return memoryview(parsed.buffers()[1]).cast("q")[: len(texts)]


def known(kind: Any) -> Known:
    """Texts of a type of the contract, by the contract's own rule."""
    validate = TypeAdapter(kind).validate_python

    def read(text: Any) -> Any:
        # Only text is kept, so that no number is ever taken for another that merely equals it.
        if text is not None and (type(text) is not str or len(text) > _LONGEST_KNOWN):
            raise UnsureError
        return validate(text)

    return Known(read)
