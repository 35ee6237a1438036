"""When a batch is written: by rows, by bytes, or by the age of its first record. Pure; `now` is passed in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from schemas.dead_letter import DecodeError
from schemas.record import Record
from streams.sinks.port import Batch, Item, Row

Partition = tuple[str, int]
Refused = tuple[Record, DecodeError]
Reading = tuple[Record, Row | DecodeError | None]
"""A record and its row, or why it has none; None where there is nothing to keep of it."""

_item: Final = partial(tuple.__new__, Item)  # without a call of Python's own per record
_WORTH_ROWS: Final = 1_000
_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The bounds of one batch; whichever is reached first."""

    rows: int = 20_000
    age_seconds: float = 1.0
    bytes: int = 64 * _MEBIBYTE


class OpenBatch:
    """What was read and is not yet committed: rows to write, records set aside, and where reading stands."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._items: list[Item] = []
        self._refused: list[Refused] = []
        self._next_offsets: dict[Partition, int] = {}
        self._opened_at = 0.0
        self._bytes = 0

    def take(self, readings: Sequence[Reading], now: float) -> None:
        """Add the next records, those of a partition in their order. `now` is any monotonic clock in seconds."""
        if readings and not self._next_offsets:
            self._opened_at = now
        self._next_offsets |= {record[:2]: record.offset + 1 for record, _ in readings}
        self._bytes += sum([len(record.value or b"") for record, _ in readings])
        self._items += map(_item, [reading for reading in readings if isinstance(reading[1], tuple)])
        self._refused += [(record, why) for record, why in readings if isinstance(why, DecodeError)]

    def is_due(self, now: float) -> bool:
        return self.room == 0 or (bool(self._next_offsets) and self.seconds_left(now) == 0)

    def is_worth_a_write(self) -> bool:
        """Whether a writer that has nothing else to do need not wait for more: half full, and no handful."""
        return len(self._items) >= max(_WORTH_ROWS, self._policy.rows // 2)

    def seconds_left(self, now: float) -> float:
        """Until the batch is due by age; the whole age while it is empty."""
        waited = now - self._opened_at if self._next_offsets else 0.0
        return max(0.0, self._policy.age_seconds - waited)

    @property
    def room(self) -> int:
        """Records that still fit."""
        if self._bytes >= self._policy.bytes:
            return 0
        return max(0, self._policy.rows - len(self._items) - len(self._refused))

    @property
    def rows(self) -> Batch:
        return Batch(self._items)

    @property
    def refused(self) -> list[Refused]:
        return self._refused

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """Where reading goes on once everything taken is written."""
        return dict(self._next_offsets)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop what came from partitions that are another's now; that one reads it again."""
        gone = set(partitions)
        self._items = [item for item in self._items if (item.record.topic, item.record.partition) not in gone]
        self._refused = [refused for refused in self._refused if (refused[0].topic, refused[0].partition) not in gone]
        self._next_offsets = {place: offset for place, offset in self._next_offsets.items() if place not in gone}
        kept = [item.record for item in self._items] + [record for record, _ in self._refused]
        self._bytes = sum(len(record.value or b"") for record in kept)

    def owe(self, next_offsets: Mapping[Partition, int], now: float) -> None:
        """Offsets of an earlier batch that are still to be committed; what was read since is further on."""
        if not self._next_offsets:
            self._opened_at = now
        self._next_offsets = {**next_offsets, **self._next_offsets}
