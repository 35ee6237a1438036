"""Whose requests wait, counted in Postgres while the queue is long enough for that to matter."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from schemas.topics import Lane
from streams.ledger.port import LedgerUnavailable
from streams.ledger.postgres_connection import HealingConnection

_EVERY_SECONDS: Final = 2.0
_COUNT: Final = """
SELECT tenant, coalesce(lane, 'interactive'), count(*) FROM requests WHERE status = 'pending' GROUP BY 1, 2
"""
_ALIVE: Final = "SELECT 1"


class PostgresQueues:
    """Asks every two seconds; `problem` says what is wrong with Postgres, None while it answers."""

    def __init__(
        self,
        dsn: str,
        matters: Callable[[], bool],
        counted: Callable[[Mapping[tuple[str, Lane], int]], None],
    ) -> None:
        self._connection = HealingConnection(dsn, "headrace-gateway")
        self._matters = matters
        self._counted = counted
        self.problem: str | None = "Postgres was not reached yet"

    async def follow(self) -> None:
        """Runs until cancelled, through any outage."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Once. Does not raise: while Postgres is away the last counts hold."""
        try:
            if self._matters():
                rows = await self._connection.ask(_COUNT, {})
                self._counted({(tenant, lane): count for tenant, lane, count in rows})
            else:
                await self._connection.ask(_ALIVE, {})
        except LedgerUnavailable as error:
            self.problem = str(error)
        else:
            self.problem = None

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._connection.aclose()
