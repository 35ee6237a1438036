"""One connection to Postgres that heals: made when needed, let go of when it breaks or stays silent."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, LiteralString

import psycopg

from streams.ledger.port import LedgerUnavailable

_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 5_000
SILENCE_SECONDS: Final = _STATEMENT_MS / 1000 + 2
"""A statement that is not answered by then has been given up here; the server gave it up before."""
_PAUSE_SECONDS: Final = 0.25
"""Between attempts to connect, so that many callers do not become a storm."""


class HealingConnection:
    """Statements go one after the other. Works behind PgBouncer in transaction mode: nothing is prepared or kept."""

    def __init__(self, dsn: str, application_name: str = "headrace-ledger") -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._connection: psycopg.AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._not_before = 0.0

    async def ask(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """One statement, one round trip, durable when it returns. Raises LedgerUnavailable: it may have been done."""
        asking = asyncio.ensure_future(self._ask(statement, parameters))
        done, _ = await asyncio.wait({asking}, timeout=SILENCE_SECONDS + _CONNECT_SECONDS)
        if not done:
            # A server that is stopped answers no cancellation either: leave the connection to its fate, take another.
            self._connection = None
            asking.add_done_callback(_forget)
            asking.cancel()
            raise LedgerUnavailable("Postgres is silent. The worker goes on by itself; see: headrace status")
        return asking.result()

    async def aclose(self) -> None:
        """Let go of the connection; the next statement makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def _ask(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            async with self._connecting:
                connection = await self._connected()
            cursor = connection.cursor(binary=True)
            try:
                await cursor.execute(statement, parameters)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                # Rolled back whole: the same again is right.
                await cursor.execute(statement, parameters)
            return await cursor.fetchall() if cursor.description else []
        except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable):
            raise LedgerUnavailable("Postgres lacks tables of this version. Run: headrace migrate") from None
        except (psycopg.DataError, psycopg.ProgrammingError, psycopg.IntegrityError):
            raise
        except (psycopg.Error, OSError) as error:
            await self.aclose()
            raise LedgerUnavailable(_told(error)) from None

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            loop = asyncio.get_running_loop()
            if loop.time() < self._not_before:
                raise LedgerUnavailable("Postgres was not there a moment ago. See: headrace status")
            self._not_before = loop.time() + _PAUSE_SECONDS
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                prepare_threshold=None,
                application_name=self._application_name,
            )
            await self._connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
            self._not_before = 0.0
        return self._connection


def _forget(asking: asyncio.Future[Any]) -> None:
    """It was given up; that it ended is no news."""
    if not asking.cancelled():
        asking.exception()


def _told(error: Exception) -> str:
    said = str(error).strip().splitlines()
    kind = type(error).__name__
    return f"Postgres cannot be asked ({kind}: {said[0][:200] if said else 'no more is known'}). See: headrace status"
