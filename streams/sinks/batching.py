"""When a batch is written: by rows, by bytes, or by the age of its first record. Pure; `now` is passed in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.record import Record, columns_of
from streams.sinks.port import Batch, Chunk
from streams.sinks.reading import Reading, Refused

Partition = tuple[str, int]

_WORTH_ROWS: Final = 1_000
_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The bounds of one batch; whichever is reached first."""

    rows: int = 20_000
    age_seconds: float = 1.0
    bytes: int = 64 * _MEBIBYTE
    eager_rows: int | None = None
    """With so many, a writer that has nothing else to do need not wait for the rest; None: it waits."""


class OpenBatch:
    """What was read and is not yet committed: rows to write, records set aside, and where reading stands."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._chunks: list[Chunk] = []
        self._refused: list[Refused] = []
        self._next_offsets: dict[Partition, int] = {}
        self._opened_at = 0.0
        self._rows = self._bytes = 0

    def take(self, records: Sequence[Record], reading: Reading, now: float) -> None:
        """Add the next records, those of a partition in their order. `now` is any monotonic clock in seconds."""
        if records and not self._next_offsets:
            self._opened_at = now
        columns = columns_of(records)
        last = dict(zip(zip(columns.topic, columns.partition, strict=True), columns.offset, strict=True))
        self._next_offsets |= {place: offset + 1 for place, offset in last.items()}
        self._bytes += sum([len(value or b"") for value in columns.value])
        self._chunks += reading.chunks
        self._rows += sum(len(chunk.records) for chunk in reading.chunks)
        self._refused += reading.refused

    def is_due(self, now: float) -> bool:
        return self.room == 0 or (bool(self._next_offsets) and self.seconds_left(now) == 0)

    def is_worth_a_write(self) -> bool:
        """Whether a writer that has nothing else to do need not wait for more."""
        eager_rows = self._policy.eager_rows
        return eager_rows is not None and self._rows >= max(_WORTH_ROWS, eager_rows)

    def seconds_left(self, now: float) -> float:
        """Until the batch is due by age; the whole age while it is empty."""
        waited = now - self._opened_at if self._next_offsets else 0.0
        return max(0.0, self._policy.age_seconds - waited)

    @property
    def room(self) -> int:
        """Records that still fit."""
        if self._bytes >= self._policy.bytes:
            return 0
        return max(0, self._policy.rows - self._rows - len(self._refused))

    @property
    def batch(self) -> Batch:
        return Batch(self._chunks)

    @property
    def refused(self) -> list[Refused]:
        return self._refused

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """Where reading goes on once everything taken is written."""
        return dict(self._next_offsets)

    def forget(self, partitions: Collection[Partition]) -> None:
        """They are another's, who reads them again: not committed, not set aside. A row may stay, and come twice."""
        gone = set(partitions)
        self._refused = [refused for refused in self._refused if refused[0][:2] not in gone]
        self._next_offsets = {place: offset for place, offset in self._next_offsets.items() if place not in gone}

    def owe(self, next_offsets: Mapping[Partition, int], now: float) -> None:
        """Offsets of an earlier batch that are still to be committed; what was read since is further on."""
        if not self._next_offsets:
            self._opened_at = now
        self._next_offsets = {**next_offsets, **self._next_offsets}
