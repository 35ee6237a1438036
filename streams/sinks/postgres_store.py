"""`PostgresStore`: batches into `requests` by COPY and one upsert."""

import contextlib
from collections.abc import Sequence
from itertools import chain
from typing import Final, LiteralString

import psycopg

from schemas.record import Record
from schemas.request import PromptRequest
from streams.sinks import postgres_rows
from streams.sinks.port import BadRow, Batch, Row, StoreUnavailable
from streams.sinks.postgres_copy import copied
from streams.sinks.postgres_rows import COLUMNS, merged
from streams.sinks.result_fields import Columns

_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 60_000
_NAMES: Final = ", ".join(COLUMNS)
_UPDATED: Final = ", ".join(
    f"{name} = EXCLUDED.{name}" for name in COLUMNS if name not in {"request_id", "tenant", "lane"}
)

# No key and no log: the server only parses these rows, the upsert is what is durable.
_STAGING: Final = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_requests
({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())}) ON COMMIT DELETE ROWS
"""
_COPY: Final = f"COPY incoming_requests ({_NAMES}) FROM STDIN (FORMAT binary)"
_INSERT: Final = f"""
INSERT INTO requests ({_NAMES}) SELECT {_NAMES} FROM incoming_requests
ON CONFLICT (request_id, tenant) DO UPDATE SET
"""  # noqa: S608 - built from our own names
# The earlier completed of two results stays, whichever came first: ClickHouse keeps the same one.
_RESULTS: Final = f"""{_INSERT}
lane = coalesce(requests.lane, EXCLUDED.lane), updated_at = now(), {_UPDATED}
WHERE requests.status = 'pending' OR EXCLUDED.completed_at < requests.completed_at
"""
_PENDING: Final = f"""{_INSERT}
lane = EXCLUDED.lane WHERE requests.lane IS NULL
"""


class PostgresStore:
    """One connection, made when needed and again after it broke. Works behind PgBouncer in transaction mode."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None

    def results(self, records: Sequence[Record], columns: Columns) -> list[Row]:
        """See ResultStore."""
        return postgres_rows.result_rows(records, columns)

    def requests(self, records: Sequence[Record], requests: Sequence[PromptRequest]) -> list[Row]:
        """See ResultStore."""
        return postgres_rows.pending_rows(records, requests)

    def write(self, batch: Batch) -> None:
        """See ResultStore. Results and pending rows are two transactions; each can be repeated."""
        results, pending = merged(chain.from_iterable(chunk.rows for chunk in batch.chunks))
        try:
            self._upsert(_RESULTS, results)
            self._upsert(_PENDING, pending)
        except (psycopg.DataError, psycopg.IntegrityError, OverflowError) as error:
            about = f"{type(error).__name__} {getattr(error, 'sqlstate', None) or ''}"
            raise BadRow("Postgres", about.strip()) from None
        except psycopg.errors.DeadlockDetected:
            raise StoreUnavailable("Postgres", "two sinks met on the same rows", retry_after_seconds=0.1) from None
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable("Postgres", _reason(error)) from None

    def close(self) -> None:
        """Let go of the connection; the next write makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _upsert(self, statement: LiteralString, rows: Sequence[Row]) -> None:
        if not rows:
            return
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            # Behind PgBouncer each transaction may meet another server connection.
            cursor.execute(_STAGING)
            with cursor.copy(_COPY) as copy:
                for piece in copied(rows):
                    copy.write(piece)
            cursor.execute(statement)

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                prepare_threshold=None,
                application_name="headrace-sink",
            )
            # A temporary table that is there already is not worth a notice per batch.
            self._connection.execute(f"SET client_min_messages = warning; SET statement_timeout = {_STATEMENT_MS}")
        return self._connection


def _reason(error: psycopg.Error) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__
