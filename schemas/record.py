"""A Kafka record as the pipeline sees it: bytes, and where they came from."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, overload

Headers = tuple[tuple[str, bytes | None], ...]

HEADER_BYTES: Final = 128


class Record(NamedTuple):
    """A record that was read. `generation` is the group membership it was fetched under (0 outside a group).

    `read_error` is set when the client library could not parse the record; then `value` holds what bytes there are.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    generation: int = 0
    read_error: str | None = None

    @property
    def size_bytes(self) -> int:
        """What holding this record costs, near enough for a bound; a header counts as `HEADER_BYTES`."""
        return len(self.value or b"") + len(self.key or b"") + HEADER_BYTES * len(self.headers)

    def header(self, name: str) -> str | None:
        """The last header of that name as text; None when absent, null or not UTF-8."""
        value = dict(self.headers).get(name)  # a dictionary keeps the last of several, and is made without a loop
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None


class RecordColumns(NamedTuple):
    """Records turned: one sequence for each field of a Record, all of the same length."""

    topic: Sequence[str]
    partition: Sequence[int]
    offset: Sequence[int]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    headers: Sequence[Headers]
    timestamp_ms: Sequence[int]
    generation: Sequence[int]
    read_error: Sequence[str | None]


class Records(Sequence[Record]):
    """Records that are kept as columns; one is made only where it is asked for, which for most is never."""

    __slots__ = ("columns",)

    def __init__(self, columns: RecordColumns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns.topic)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Record | Records":
        found: list[Any] = [column[at] for column in self.columns]
        return Record(*found) if isinstance(at, int) else Records(RecordColumns(*found))

    def __iter__(self) -> Iterator[Record]:
        return map(Record._make, zip(*self.columns, strict=True))


def columns_of(records: Sequence[Record]) -> RecordColumns:
    """The columns of records, however they are kept."""
    if isinstance(records, Records):
        return records.columns
    return RecordColumns(*zip(*records, strict=True)) if records else RecordColumns(*[()] * len(Record._fields))


class OutgoingRecord(NamedTuple):
    """A record to be written; the topic's partitioner places it by `key`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
