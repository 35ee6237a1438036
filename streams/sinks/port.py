"""What a store must do for a sink, and how it says that it cannot."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from schemas.record import Record
from schemas.request import PromptRequest
from streams.sinks.result_fields import ResultFields

Event = ResultFields | PromptRequest
Row = tuple[Any, ...]
"""One row of a store, in that store's own order and forms."""


class Item(NamedTuple):
    """A record and the row made of it."""

    record: Record
    row: Row


@dataclass(frozen=True, slots=True)
class Batch:
    """Items in the order they were read."""

    items: Sequence[Item]

    @property
    def token(self) -> str:
        """Names these very records, by place and broker time: a topic made anew gives no old token."""
        records = [record for record, _ in self.items]
        places = [record[:2] for record in records]
        first = dict(zip(reversed(places), reversed(records), strict=True))
        last = dict(zip(places, records, strict=True))
        return ";".join(
            f"{topic}/{number}:{[*_mark(first[topic, number]), *_mark(last[topic, number]), records_of_it]}"
            for (topic, number), records_of_it in sorted(Counter(places).items())
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        middle = len(self.items) // 2
        return Batch(self.items[:middle]), Batch(self.items[middle:])


def _mark(record: Record) -> tuple[int, int]:
    return record.offset, record.timestamp_ms


class ResultStore(Protocol):
    """Keeps results, each request once. Writing a batch again, whole or in part, changes nothing."""

    def row_of(self, record: Record, event: Event) -> Row | None:
        """The row for an event; None where this store keeps none. Made at once: the event is large, the row is not."""

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
