"""`MemoryStore`: the store's contract in a dictionary."""

from typing import Any
from uuid import UUID

from streams.sinks.port import Batch
from streams.sinks.postgres_rows import COLUMNS, joined, rows_of


class MemoryStore:
    """Rows as Postgres would have them, by id and tenant."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, str], dict[str, Any]] = {}

    def write(self, batch: Batch) -> None:
        """See ResultStore."""
        results, pending = rows_of(batch.items)
        for row in (*results, *pending):
            key = (row[0], row[1])
            known = self.rows.get(key)
            kept = row if known is None else joined(tuple(known.values()), row)
            self.rows[key] = dict(zip(COLUMNS, kept, strict=True))
