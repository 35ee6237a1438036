"""One connection to Postgres that heals: made when needed, let go of when it breaks or stays silent.

Statements run in a thread. On a loop that is busy with thousands of calls every wait of an asynchronous client costs a
turn of it, 20 to 50 ms, and a statement waits three or four times; a thread costs one turn, however busy the loop.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, LiteralString

import psycopg

from streams.ledger.port import LedgerUnavailable
from streams.side_thread import SideThread

_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 5_000
SILENCE_SECONDS: Final = _STATEMENT_MS / 1000 + 2
"""A statement that is not answered by then has been given up here; the server gave it up before."""
_PAUSE_SECONDS: Final = 0.25
"""Between attempts to connect, so that many callers do not become a storm."""

Rows = list[tuple[Any, ...]]


class HealingConnection:
    """Statements go one after the other. Works behind PgBouncer in transaction mode: nothing is prepared or kept."""

    def __init__(self, dsn: str, application_name: str = "headrace-ledger") -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._session: _Session | None = None

    async def ask(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Rows:
        """One statement, one round trip, durable when it returns. Raises LedgerUnavailable: it may have been done."""
        session = self._session = self._session or _Session(self._dsn, self._application_name)
        asking = session.thread.run(lambda: session.ask(statement, parameters))
        try:
            # Awaited itself: a task that waits beside it would wake a turn of the loop later.
            async with asyncio.timeout(SILENCE_SECONDS + _CONNECT_SECONDS):
                return await asking
        except TimeoutError:
            # A server that is stopped answers no cancellation either: leave the connection to its fate, take another.
            if self._session is session:
                self._session = None
            session.thread.leave()
            raise LedgerUnavailable("Postgres is silent. The worker goes on by itself; see: headrace status") from None

    async def aclose(self) -> None:
        """Let go of the connection; the next statement makes another."""
        session, self._session = self._session, None
        if session is not None:
            closing = session.thread.run(session.close)
            closing.add_done_callback(_forget)
            session.thread.leave()
            await asyncio.wait({closing}, timeout=_CONNECT_SECONDS)


class _Session:
    """What the thread does; nothing else touches the connection."""

    def __init__(self, dsn: str, application_name: str) -> None:
        self.thread = SideThread(application_name)
        self._dsn = dsn
        self._application_name = application_name
        self._connection: psycopg.Connection | None = None
        self._not_before = 0.0

    def ask(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Rows:
        try:
            cursor = self._connected().cursor(binary=True)
            try:
                cursor.execute(statement, parameters)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                # Rolled back whole: the same again is right.
                cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable):
            raise LedgerUnavailable("Postgres lacks tables of this version. Run: headrace migrate") from None
        except (psycopg.DataError, psycopg.ProgrammingError, psycopg.IntegrityError):
            raise
        except (psycopg.Error, OSError) as error:
            self.close()
            raise LedgerUnavailable(_told(error)) from None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            if time.monotonic() < self._not_before:
                raise LedgerUnavailable("Postgres was not there a moment ago. See: headrace status")
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                prepare_threshold=None,
                application_name=self._application_name,
            )
            connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
            self._connection, self._not_before = connection, 0.0
        return self._connection


def _forget(asking: asyncio.Future[Any]) -> None:
    """It was given up; that it ended is no news."""
    if not asking.cancelled():
        asking.exception()


def _told(error: Exception) -> str:
    said = str(error).strip().splitlines()
    kind = type(error).__name__
    return f"Postgres cannot be asked ({kind}: {said[0][:200] if said else 'no more is known'}). See: headrace status"
