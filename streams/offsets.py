"""Which offset may be committed while records finish in any order (invariant O)."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(slots=True)
class OffsetLine:
    """One partition under one group generation: what was taken, in order, and what of it is finished.

    Gaps between offsets (compaction, transaction markers) need no care: the line knows only offsets it was given.
    """

    generation: int
    closed: bool = False
    """Set when the partition is leaving: nothing more is taken."""
    _taken: deque[int] = field(default_factory=deque)
    _finished: set[int] = field(default_factory=set)
    _last_taken: int | None = None
    _next_offset: int | None = None
    _committed: int | None = None

    def take(self, offset: int) -> bool:
        """A record was handed over; False when it, or a later one, had been taken before (a seek back repeats some)."""
        if self._last_taken is not None and offset <= self._last_taken:
            return False
        self._taken.append(offset)
        self._last_taken = offset
        return True

    def hand_back(self, offset: int) -> None:
        """The record taken last was never begun. Raises ValueError for any other."""
        if not self._taken or self._taken[-1] != offset:
            raise ValueError(f"offset {offset} was not the last one taken")
        self._taken.pop()

    def finish(self, offset: int) -> None:
        """A record is done with; the position moves only over a finished prefix."""
        self._finished.add(offset)
        while self._taken and self._taken[0] in self._finished:
            first = self._taken.popleft()
            self._finished.discard(first)
            self._next_offset = first + 1

    @property
    def next_to_take(self) -> int | None:
        return None if self._last_taken is None else self._last_taken + 1

    @property
    def unfinished(self) -> int:
        return len(self._taken) - len(self._finished)

    @property
    def held(self) -> int:
        """Offsets taken and not yet below the position: what a crash now would redeliver."""
        return len(self._taken)

    def to_commit(self) -> int | None:
        """The next offset to read after a restart, or None when nothing moved since `committed`."""
        return None if self._next_offset == self._committed else self._next_offset

    def committed(self, next_offset: int) -> None:
        """The broker has it."""
        self._committed = next_offset
