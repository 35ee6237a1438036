"""What a store must do for a sink, and how it says that it cannot."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

from schemas.record import Record, columns_of
from schemas.request import PromptRequest
from streams.sinks.result_fields import Columns

Row = tuple[Any, ...]
Rows = Any
"""Rows in a store's own form: one of `len` and of slices, such as a list of tuples or a batch of Arrow's."""


class Chunk(NamedTuple):
    """Records that were read together, and a row for each."""

    records: Sequence[Record]
    rows: Rows

    def halves(self) -> tuple["Chunk", "Chunk"]:
        middle = len(self.records) // 2
        return Chunk(self.records[:middle], self.rows[:middle]), Chunk(self.records[middle:], self.rows[middle:])


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks in the order they were read."""

    chunks: Sequence[Chunk]

    def __len__(self) -> int:
        return sum(len(chunk.records) for chunk in self.chunks)

    @property
    def records(self) -> list[Record]:
        return list(chain.from_iterable(chunk.records for chunk in self.chunks))

    @property
    def token(self) -> str:
        """Names these very records, by place and broker time: a topic made anew gives no old token."""
        first: dict[tuple[str, int], tuple[int, int]] = {}
        last: dict[tuple[str, int], tuple[int, int]] = {}
        counted: Counter[tuple[str, int]] = Counter()
        for chunk in self.chunks:
            columns = columns_of(chunk.records)
            places = list(zip(columns.topic, columns.partition, strict=True))
            marks = list(zip(columns.offset, columns.timestamp_ms, strict=True))
            first = dict(zip(reversed(places), reversed(marks), strict=True)) | first
            last |= dict(zip(places, marks, strict=True))
            counted.update(places)
        return ";".join(
            f"{topic}/{number}:{[*first[topic, number], *last[topic, number], records]}"
            for (topic, number), records in sorted(counted.items())
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        """Of two records or more."""
        if len(self.chunks) == 1:
            first, second = self.chunks[0].halves()
            return Batch([first]), Batch([second])
        middle = len(self.chunks) // 2
        return Batch(self.chunks[:middle]), Batch(self.chunks[middle:])


class ResultStore(Protocol):
    """Keeps results, each request once. Writing a batch again, whole or in part, changes nothing."""

    def results(self, records: Sequence[Record], columns: Columns) -> Rows:
        """Rows of results and the records they came in. Made at once: events are large, rows are not. Raises BadRow."""

    def requests(self, records: Sequence[Record], requests: Sequence[PromptRequest]) -> Rows | None:
        """Rows of requests that may have no result yet; None where this store keeps none."""

    def write(self, batch: Batch) -> None:
        """Return when all of it is durable. Raises StoreUnavailable or BadRow: then write it again."""


class StoreUnavailable(Exception):  # noqa: N818 - a state of the store, named as such
    """The store cannot take anything now; what was given may or may not be there."""

    def __init__(self, store: str, reason: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(
            f"{store} takes no rows now ({reason}). The sink waits and goes on by itself; see: headrace status"
        )
        self.retry_after_seconds = retry_after_seconds


class BadRow(Exception):  # noqa: N818 - a fact about a row
    """Some row of the batch can never be written; `reason` names types and rules, never the content."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store} refuses a row: {reason}")
        self.reason = reason
