"""The waiting records of one partition, in the order they are due. Pure; `now` is seconds since 1970.

The records of a partition are not ordered by due time: one that waits a minute stands behind one that waits four. So
all of them are read and held here, up to a bound; only at that bound does a later one wait for an earlier one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, NamedTuple

from schemas.record import Record
from streams.offsets import OffsetLine

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ShelfBounds:
    """When a partition is read no further until something has left."""

    records: int = 10_000
    """Waiting, each held in memory."""
    bytes: int = 16 * _MEBIBYTE
    offsets: int = 100_000
    """Between the first that waits and the last that was read, those that are done included."""


class Waiting(NamedTuple):
    """A record and when it is due."""

    due: float
    offset: int
    record: Record


class Position(NamedTuple):
    """Where a restart begins, and what beyond that is done already."""

    next_offset: int
    finished_ahead: frozenset[int] = frozenset()


class RetryShelf:
    """Put records in the order of their offsets, take the due ones, finish those that were sent."""

    def __init__(self, bounds: ShelfBounds, finished_ahead: Collection[int] = ()) -> None:
        self._bounds = bounds
        self._finished_before = frozenset(finished_ahead)
        self._line = OffsetLine(generation=0)
        self._heap: list[Waiting] = []
        self._bytes = 0
        self._start: int | None = None
        self._ahead: set[int] = set()
        self._committed: Position | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, record: Record, due: float) -> None:
        """One more record; passed over where it was put before, or was done before a restart."""
        if not self._line.take(record.offset):
            return
        if self._start is None:
            self._start = record.offset
        if record.offset in self._finished_before:
            self.finish(record.offset)
        else:
            self.put_back(Waiting(due, record.offset, record))

    def take_due(self, now: float, at_most: int) -> list[Waiting]:
        """What is due, earliest first. Each is to be finished or put back."""
        due: list[Waiting] = []
        while self._heap and len(due) < at_most and self._heap[0].due <= now:
            due.append(heappop(self._heap))
            self._bytes -= due[-1].record.size_bytes
        return due

    def put_back(self, waiting: Waiting) -> None:
        heappush(self._heap, waiting)
        self._bytes += waiting.record.size_bytes

    def finish(self, offset: int) -> None:
        """That record is in its topic."""
        self._line.finish(offset)
        self._ahead.add(offset)

    @property
    def next_due(self) -> float | None:
        return self._heap[0].due if self._heap else None

    @property
    def is_full(self) -> bool:
        bounds = self._bounds
        return len(self._heap) >= bounds.records or self._bytes >= bounds.bytes or self._line.held >= bounds.offsets

    def to_commit(self) -> Position | None:
        """Where a restart may begin; None when nothing was finished since `committed`."""
        if self._start is None or not self._ahead:
            return None
        next_offset = self._line.to_commit()
        if next_offset is None:
            next_offset = self._start
        position = Position(next_offset, frozenset(offset for offset in self._ahead if offset >= next_offset))
        return None if position == self._committed else position

    def committed(self, position: Position) -> None:
        """The broker has it."""
        self._committed = position
        self._ahead = {offset for offset in self._ahead if offset >= position.next_offset}
