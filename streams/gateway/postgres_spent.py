"""Which budgets are used up, read from the ledger's own counters now and then, answered from memory."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from producers.gateway.budgets import SpentBudget
from schemas.request import PromptRequest
from streams.ledger.budgets import BudgetKey, keys_of
from streams.ledger.port import LedgerUnavailable
from streams.ledger.postgres_connection import HealingConnection

_EVERY_SECONDS: Final = 1.0
# Used up whatever the calls under way turn out to cost; those of a period that is over are not.
_USED_UP: Final = """
SELECT tenant, scope, name, period, budget_resets_at(period, clock_timestamp()) FROM budgets
WHERE spent_usd + at_risk_usd >= hard_usd AND starts_at >= budget_starts_at(period, clock_timestamp())
"""


class PostgresSpentBudgets:
    """A BudgetCheck that is at most about a second behind. The worker's own check is the one that binds."""

    def __init__(self, dsn: str, now: Callable[[], datetime]) -> None:
        self._connection = HealingConnection(dsn, "headrace-gateway")
        self._now = now
        self._resets_at: Mapping[BudgetKey, datetime] = {}

    async def spent(self, request: PromptRequest) -> SpentBudget | None:
        """See BudgetCheck. What was seen last holds while Postgres is away, until it would have been reset."""
        if not self._resets_at:
            return None
        now = self._now()
        for key in keys_of(request):
            resets_at = self._resets_at.get(key)
            if resets_at is not None and resets_at > now:
                return SpentBudget(f"{key.scope}'s budget of the {key.period}", (resets_at - now).total_seconds())
        return None

    async def follow(self) -> None:
        """Runs until cancelled, through any outage."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Once. Does not raise."""
        try:
            rows = await self._connection.ask(_USED_UP, {})
        except LedgerUnavailable:
            return
        self._resets_at = {BudgetKey(*key): resets_at for *key, resets_at in rows}

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._connection.aclose()
