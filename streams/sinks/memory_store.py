"""`MemoryStore`: the store's contract in a dictionary."""

from typing import Any
from uuid import UUID

from schemas.record import Record
from streams.sinks import postgres_rows
from streams.sinks.port import Batch, Event, Row
from streams.sinks.postgres_rows import COLUMNS, joined, merged, readable


class MemoryStore:
    """Rows as Postgres would have them, by id and tenant."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], Row] = {}

    @property
    def rows(self) -> dict[tuple[UUID, str], dict[str, Any]]:
        found = [dict(zip(COLUMNS, readable(row), strict=True)) for row in self._rows.values()]
        return {(row["request_id"], row["tenant"]): row for row in found}

    def row_of(self, record: Record, event: Event) -> Row | None:
        """See ResultStore."""
        return postgres_rows.row_of(record, event)

    def write(self, batch: Batch) -> None:
        """See ResultStore."""
        results, pending = merged(item.row for item in batch.items)
        for row in (*results, *pending):
            key = (row[0], row[1])
            known = self._rows.get(key)
            self._rows[key] = row if known is None else joined(known, row)
