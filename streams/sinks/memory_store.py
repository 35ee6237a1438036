"""`MemoryStore`: the store's contract in a dictionary."""

from typing import Any
from uuid import UUID

from schemas.record import Record
from streams.sinks import postgres_rows
from streams.sinks.port import Batch, Event, Row
from streams.sinks.postgres_rows import COLUMNS, joined, merged


class MemoryStore:
    """Rows as Postgres would have them, by id and tenant."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, str], dict[str, Any]] = {}

    def row_of(self, record: Record, event: Event) -> Row | None:
        """See ResultStore."""
        return postgres_rows.row_of(record, event)

    def write(self, batch: Batch) -> None:
        """See ResultStore."""
        results, pending = merged(item.row for item in batch.items)
        for row in (*results, *pending):
            key = (row[0], row[1])
            known = self.rows.get(key)
            kept = row if known is None else joined(tuple(known.values()), row)
            self.rows[key] = dict(zip(COLUMNS, kept, strict=True))
