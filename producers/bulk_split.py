"""Uploads and files of requests, cut into items as their bytes come: JSON lines, a JSON array, or CSV.

What an item is depends on the content alone, never on how its bytes arrived: a second upload of the same content has
the same items under the same numbers.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from schemas.templates.network_config import NETWORK_CONFIG
from schemas.topics import MAX_VALUE_BYTES

_VARIABLES: Final = tuple(sorted(NETWORK_CONFIG.required | NETWORK_CONFIG.optional))
_FIELDS: Final = ("tenant", "department", "user_id", "application", "model", "max_tokens", "deadline", "request_id")
NETWORK_COLUMNS: Final = (*_VARIABLES, *_FIELDS)
"""The columns a CSV file may have; it must have those that the template requires. An empty cell is no value."""

MAX_ITEM_BYTES: Final = MAX_VALUE_BYTES
_BOM: Final = b"\xef\xbb\xbf"
_TOO_LARGE: Final = f"larger than the limit of {MAX_ITEM_BYTES} bytes"
# A whole string, a quotation mark that begins one which is not whole yet, or a sign of the structure.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\],]', re.DOTALL)


class BulkFileError(ValueError):
    """The file as a whole cannot be used; the message says what to change."""


class RawItem(NamedTuple):
    """One item as it came. `line` counts from 1, a CSV header included; in a JSON array it is the element's number.

    `fields` is None where `raw` is a JSON document still to be read, and text where it makes no item: the reason.
    """

    line: int
    raw: bytes
    fields: Mapping[str, Any] | str | None = None


class Splitter(Protocol):
    """Cuts one upload. Raises BulkFileError where nothing behind can be read any more."""

    def feed(self, data: bytes) -> list[RawItem]:
        """The items that are whole with these bytes."""
        ...

    def end(self) -> list[RawItem]:
        """The last items: nothing comes any more."""
        ...


class JsonLines:
    """One JSON document on each line; empty lines are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._line = 0
        self._is_skipping = False

    def feed(self, data: bytes) -> list[RawItem]:
        """See Splitter."""
        *lines, rest = (self._rest + data).split(b"\n")
        items = [item for line in lines if (item := self._item(line)) is not None]
        self._is_skipping = self._is_skipping or len(rest) > MAX_ITEM_BYTES
        self._rest = b"" if self._is_skipping else rest
        return items

    def end(self) -> list[RawItem]:
        """See Splitter."""
        rest, self._rest = self._rest, b""
        item = self._item(rest)
        return [] if item is None else [item]

    def _item(self, line: bytes) -> RawItem | None:
        self._line += 1
        if self._is_skipping or len(line) > MAX_ITEM_BYTES:
            self._is_skipping = False
            return RawItem(self._line, b"", _TOO_LARGE)
        text = (line.removeprefix(_BOM) if self._line == 1 else line).strip()
        return RawItem(self._line, text) if text else None


class JsonArray:
    """The elements of one JSON array."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._begin = 0
        self._depth = 0
        self._number = 0
        self._is_done = self._is_too_large = False

    def feed(self, data: bytes) -> list[RawItem]:
        """See Splitter."""
        self._buffer = self._buffer[self._begin :] + data
        self._at -= self._begin
        self._begin = 0
        items = list(self._items())
        if self._at - self._begin > MAX_ITEM_BYTES:  # its beginning need not be kept: it is refused as a whole
            self._is_too_large = True
            self._begin = self._at
        elif len(self._buffer) - self._begin > 2 * MAX_ITEM_BYTES:
            raise BulkFileError(f"element {self._number + 1} holds a text that is {_TOO_LARGE}")
        return items

    def end(self) -> list[RawItem]:
        """See Splitter."""
        if not self._is_done or self._buffer[self._begin :].strip():
            raise BulkFileError(f"the JSON array is not whole behind element {self._number}")
        return []

    def _items(self) -> Iterator[RawItem]:
        if self._depth == 0 and not self._is_done:
            self._open()
        for token in _TOKEN.finditer(self._buffer, self._at):
            sign = token[0]
            if sign == b'"':
                self._at = token.start()
                return
            if self._is_done:
                raise BulkFileError("something follows the JSON array")
            self._at = token.end()
            if sign in {b"[", b"{"}:
                self._depth += 1
            elif sign in {b"]", b"}"}:
                self._depth -= 1
            if sign == b"," and self._depth == 1:
                yield self._element(token.start())
            elif self._depth == 0:
                self._is_done = True
                last = self._buffer[self._begin : token.start()].strip()
                if last or self._number or self._is_too_large:
                    yield self._element(token.start())
                self._begin = token.end()
        self._at = len(self._buffer)

    def _open(self) -> None:
        text = self._buffer.removeprefix(_BOM).lstrip()
        if not text:
            return
        if text[:1] != b"[":
            raise BulkFileError("the content is no JSON array; it begins with `[`")
        self._begin = self._at = self._buffer.index(b"[") + 1
        self._depth = 1

    def _element(self, end: int) -> RawItem:
        self._number += 1
        raw = self._buffer[self._begin : end].strip()
        self._begin = self._at
        is_too_large, self._is_too_large = self._is_too_large or len(raw) > MAX_ITEM_BYTES, False
        return RawItem(self._number, b"", _TOO_LARGE) if is_too_large else RawItem(self._number, raw)


class CsvRows:
    """Rows of the columns of NETWORK_COLUMNS as `network-config@1` requests, labelled with their device."""

    def __init__(self) -> None:
        self._rest = b""
        self._line = 0
        self._group: list[bytes] = []
        self._group_bytes = self._quotes = 0
        self._columns: list[str] | None = None

    def feed(self, data: bytes) -> list[RawItem]:
        """See Splitter."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_ITEM_BYTES:
            raise BulkFileError(f"line {self._line + len(lines) + 1} is {_TOO_LARGE}")
        return [item for line in lines for item in self._line_of(line + b"\n")]

    def end(self) -> list[RawItem]:
        """See Splitter."""
        rest, self._rest = self._rest, b""
        items = [*(self._line_of(rest) if rest else ()), *self._rows()]
        if self._columns is None:
            _check_columns([])
        return items

    def _line_of(self, line: bytes) -> list[RawItem]:
        """A quoted cell may span lines: a row is whole where the quotation marks are even."""
        self._group.append(line)
        self._group_bytes += len(line)
        self._quotes += line.count(b'"')
        if self._quotes % 2 and self._group_bytes <= MAX_ITEM_BYTES:
            return []
        return self._rows()

    def _rows(self) -> list[RawItem]:
        raw, lines = b"".join(self._group), len(self._group)
        first, self._line = self._line + 1, self._line + lines
        self._group, self._group_bytes, self._quotes = [], 0, 0
        text = (raw.removeprefix(_BOM) if first == 1 else raw).decode(errors="surrogateescape")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        items: list[RawItem] = []
        while True:
            line = first + rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                return items
            except csv.Error as error:
                items.append(RawItem(line, raw, f"not valid CSV ({error})"))
            else:
                if row and (fields := self._fields(row)) is not None:
                    items.append(RawItem(line, raw, fields))

    def _fields(self, row: list[str]) -> Mapping[str, Any] | str | None:
        if self._columns is None:
            _check_columns(row)
            self._columns = row
            return None
        if len(row) != len(self._columns):
            return "the row has more or fewer cells than the header"
        return _fields_of_row(dict(zip(self._columns, row, strict=True)))


def _check_columns(columns: Sequence[str]) -> None:
    known = ", ".join(NETWORK_COLUMNS)
    if missing := sorted(NETWORK_CONFIG.required - set(columns)):
        raise BulkFileError(f"the header lacks {', '.join(missing)}; the columns are {known}")
    if unknown := [column for column in columns if column not in NETWORK_COLUMNS]:
        raise BulkFileError(f"the header has {len(unknown)} column(s) of another name; the columns are {known}")


def _fields_of_row(row: Mapping[str, str]) -> dict[str, Any] | str:
    if any("\udc80" <= character <= "\udcff" for cell in row.values() if not cell.isascii() for character in cell):
        return "not valid UTF-8"
    given = {column: cell for column, cell in row.items() if cell.strip()}
    fields: dict[str, Any] = {name: given[name] for name in _FIELDS if name in given}
    variables = {name: given[name] for name in _VARIABLES if name in given}
    labels = {"device_name": given["device_name"]} if len(given.get("device_name", "")) in range(1, 257) else {}
    return {**fields, "template": NETWORK_CONFIG.reference, "variables": variables, "labels": labels}
