"""Columns of a result's JSON, checked and made into what the stores take. Pure; each fails as a whole or not at all."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import add
from struct import iter_unpack, unpack
from typing import Any, Final

from pydantic import TypeAdapter

from streams.sinks.result_fields import microseconds

_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 256
_ID_CHARACTERS, _ID_BYTES, _HALF_BITS = 36, 16, 64
_ID_DASHES: Final = (8, 13, 18, 23)
_SECOND: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}")
_POINT, _MOMENT = 19, len("2026-11-02T09:00:00.003000Z")
_MOMENT_PARTS: Final = "19sx6sx"

Texts = Sequence[Any]


class UnsureError(Exception):
    """Not as our own workers write it, which need not be wrong."""


class Known(dict[Any, Any]):
    """What was read before, by its text: names, labels, amounts and seconds come again and again."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: Any) -> Any:
        value = self._read(text)
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[text] = value
        return value


def check_counts(columns: Sequence[Sequence[Any]]) -> None:
    if set(map(type, chain(*columns))) != {int} or min(map(min, columns)) < 0:
        raise UnsureError


def ids(texts: Texts) -> Sequence[int]:
    """The numbers of UUIDs in their usual form."""
    together = "".join(texts)
    digits = together.replace("-", "")
    number = bytes.fromhex(digits)  # passes over spaces, so the bytes are counted too
    dashes = "".join(together[at::_ID_CHARACTERS] for at in _ID_DASHES)
    if (
        set(map(len, texts)) != {_ID_CHARACTERS}
        or dashes != "-" * len(_ID_DASHES) * len(texts)
        or len(number) != _ID_BYTES * len(texts)
    ):
        raise UnsureError
    halves = unpack(f">{2 * len(texts)}Q", number)
    return [high << _HALF_BITS | low for high, low in zip(halves[::2], halves[1::2], strict=True)]


def ids_or_none(texts: Texts) -> Sequence[int | None]:
    if None not in texts:
        return ids(texts)
    return [None if text is None else ids((text,))[0] for text in texts]


def moments(texts: Texts) -> Sequence[int]:
    """Microseconds since 1970, of times in UTC with no fraction or with six digits of one."""
    if set(map(len, texts)) != {_MOMENT}:
        texts = list(map(_with_fraction, texts))
    seconds, fractions = zip(*_parts_of_moments("".join(texts).encode("ascii")), strict=True)
    if not b"".join(fractions).isdigit():
        raise UnsureError
    return list(map(add, map(_SECONDS.__getitem__, seconds), map(int, fractions)))


def _with_fraction(text: str) -> str:
    if len(text) == _MOMENT:
        return text
    if text[_POINT:] != "Z":
        raise UnsureError
    return f"{text[:_POINT]}.000000Z"


def _parts_of_moments(together: bytes) -> Iterable[tuple[bytes, bytes]]:
    """The second and the digits behind it, of moments of the usual length."""
    count = len(together) // _MOMENT
    if together[_POINT::_MOMENT] != b"." * count or together[_MOMENT - 1 :: _MOMENT] != b"Z" * count:
        raise UnsureError
    return iter_unpack(_MOMENT_PARTS, together)


def _second(written: bytes) -> int:
    text = written.decode()
    if not _SECOND.fullmatch(text):
        raise UnsureError
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


def text_or_none(texts: Texts) -> Texts:
    if not set(map(type, texts)) <= {str, type(None)}:
        raise UnsureError
    return texts


def known(kind: Any) -> Known:
    """Texts of a type of the contract, by the contract's own rule."""
    validate = TypeAdapter(kind).validate_python

    def read(text: Any) -> Any:
        # Only text is kept, so that no number is ever taken for another that merely equals it.
        if text is not None and (type(text) is not str or len(text) > _LONGEST_KNOWN):
            raise UnsureError
        return validate(text)

    return Known(read)


_SECONDS: Final = Known(_second)
