"""`MemoryStore`: the store's contract in a dictionary."""

from collections.abc import Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from schemas.record import Record
from schemas.request import PromptRequest
from streams.sinks import postgres_rows
from streams.sinks.port import Batch, Row
from streams.sinks.postgres_rows import COLUMNS, joined, merged, readable
from streams.sinks.result_fields import Columns


class MemoryStore:
    """Rows as Postgres would have them, by id and tenant."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], Row] = {}

    @property
    def rows(self) -> dict[tuple[UUID, str], dict[str, Any]]:
        found = [dict(zip(COLUMNS, readable(row), strict=True)) for row in self._rows.values()]
        return {(row["request_id"], row["tenant"]): row for row in found}

    def results(self, records: Sequence[Record], columns: Columns) -> list[Row]:
        """See ResultStore."""
        return postgres_rows.result_rows(records, columns)

    def requests(self, records: Sequence[Record], requests: Sequence[PromptRequest]) -> list[Row]:
        """See ResultStore."""
        return postgres_rows.pending_rows(records, requests)

    def write(self, batch: Batch) -> None:
        """See ResultStore."""
        results, pending = merged(chain.from_iterable(chunk.rows for chunk in batch.chunks))
        for row in (*results, *pending):
            key = (row[0], row[1])
            known = self._rows.get(key)
            self._rows[key] = row if known is None else joined(known, row)
