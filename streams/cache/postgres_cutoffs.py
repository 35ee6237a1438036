"""Reads the moments of invalidation from Postgres, every second; writes one."""

import asyncio
import contextlib
from datetime import datetime
from typing import Any, Final

import psycopg

from streams.cache.cutoffs import LONGEST_LIFE, Cutoffs
from streams.logs import logger_named

log = logger_named("cache")

READ_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 3.0
_READ: Final = "SELECT group_name, fresh_since FROM cache_cutoffs WHERE fresh_since > now() - %(life)s"
_WRITE: Final = """
INSERT INTO cache_cutoffs AS c VALUES (%(group)s, clock_timestamp())
ON CONFLICT (group_name) DO UPDATE SET fresh_since = greatest(c.fresh_since, EXCLUDED.fresh_since)
RETURNING fresh_since
"""
_FORGET: Final = "DELETE FROM cache_cutoffs WHERE fresh_since < now() - %(life)s"


class PostgresCutoffs:
    """Keeps `cutoffs` up to date. While Postgres is away the last known ones hold."""

    def __init__(self, dsn: str, cutoffs: Cutoffs) -> None:
        self._dsn = dsn
        self._cutoffs = cutoffs
        self._connection: psycopg.AsyncConnection | None = None
        self._is_away = False

    async def follow(self, interval_seconds: float = READ_SECONDS) -> None:
        """Runs until cancelled."""
        try:
            while True:
                await self.read()
                await asyncio.sleep(interval_seconds)
        finally:
            await self._let_go()

    async def read(self) -> None:
        """Once. Does not raise: a worker without Postgres goes on serving what it has."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self._cutoffs.replace(await self._moments())
        except (psycopg.Error, OSError, TimeoutError) as error:
            await self._let_go()
            if not self._is_away:
                log.warning("invalidations_unknown", reason=type(error).__name__)
            self._is_away = True
        else:
            self._is_away = False

    async def _moments(self) -> dict[str, datetime]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=int(_PATIENCE_SECONDS),
                prepare_threshold=None,
                application_name="headrace-cache",
            )
        cursor = await self._connection.execute(_READ, {"life": LONGEST_LIFE})
        return dict(await cursor.fetchall())

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()


def invalidate(connection: psycopg.Connection[Any], group: str) -> datetime:
    """From this moment on every answer of the group is stale; workers know within a second. Safe to repeat."""
    connection.execute(_FORGET, {"life": LONGEST_LIFE})
    row = connection.execute(_WRITE, {"group": group}).fetchone()
    if row is None:
        raise psycopg.DataError("Postgres returned no moment")
    moment: datetime = row[0]
    return moment
