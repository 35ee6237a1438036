"""Budgets as operators set and read them, counted anew from the ledger's calls when asked; and how many are over."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import class_row, tuple_row

from streams.ledger.budgets import BudgetKey, Period, Scope
from streams.ledger.port import LedgerUnavailable
from streams.ledger.postgres_connection import HealingConnection

WATCH_SECONDS: Final = 10.0

# No batch of a worker is under way while this is held: those that are end first, those that come wait.
_ALONE: Final = "SELECT pg_advisory_xact_lock(4990254402181190733)"
_EXISTS: Final = "SELECT FROM budgets WHERE (tenant, scope, name, period) = (%s, %s, %s, %s)"
_SET: Final = """
INSERT INTO budgets AS b (tenant, scope, name, period, soft_usd, hard_usd, starts_at)
VALUES (%(tenant)s, %(scope)s, %(name)s, %(period)s, %(soft)s, %(hard)s,
    budget_starts_at(%(period)s, clock_timestamp()))
ON CONFLICT (tenant, scope, name, period) DO UPDATE SET soft_usd = EXCLUDED.soft_usd, hard_usd = EXCLUDED.hard_usd
"""
_REMOVE: Final = "DELETE FROM budgets WHERE (tenant, scope, name, period) = (%s, %s, %s, %s)"
_LIST: Final = """
SELECT b.tenant, b.scope, b.name, b.period, b.soft_usd, b.hard_usd, c.spent_usd, c.at_risk_usd, c.reserved_usd,
    budget_resets_at(b.period, clock_timestamp()) AS resets_at
FROM budgets b CROSS JOIN LATERAL (
    SELECT b.spent_usd, b.at_risk_usd, b.reserved_usd WHERE b.starts_at >= budget_starts_at(b.period, clock_timestamp())
    UNION ALL SELECT 0, 0, 0 WHERE b.starts_at < budget_starts_at(b.period, clock_timestamp())
) c
WHERE %(tenant)s::text IS NULL OR b.tenant = %(tenant)s
ORDER BY b.tenant, b.scope, b.name, b.period
"""
# One pass over the calls of the month, whatever the number of budgets.
_REBUILD: Final = """
WITH counted AS (
    SELECT b.tenant, b.scope, b.name, b.period, sum(e.spent_usd) AS spent_usd, sum(e.at_risk_usd) AS at_risk_usd,
        sum(e.reserved_usd) AS reserved_usd
    FROM ledger_calls c
    CROSS JOIN LATERAL budget_entry_of(c, 1) e
    CROSS JOIN LATERAL (VALUES ('tenant', ''), ('department', c.department), ('user', c.user_id)) AS s(scope, name)
    JOIN budgets b ON b.tenant = c.tenant AND b.scope = s.scope AND b.name = s.name
    WHERE c.sent_at >= budget_starts_at('month', clock_timestamp())
        AND (%(tenant)s::text IS NULL OR c.tenant = %(tenant)s)
        AND c.sent_at >= budget_starts_at(b.period, clock_timestamp())
    GROUP BY b.tenant, b.scope, b.name, b.period
), right_ones AS (
    SELECT b.tenant, b.scope, b.name, b.period, budget_starts_at(b.period, clock_timestamp()) AS starts_at,
        coalesce(c.spent_usd, 0) AS spent_usd, coalesce(c.at_risk_usd, 0) AS at_risk_usd,
        coalesce(c.reserved_usd, 0) AS reserved_usd
    FROM budgets b LEFT JOIN counted c USING (tenant, scope, name, period)
    WHERE %(tenant)s::text IS NULL OR b.tenant = %(tenant)s
)
UPDATE budgets b SET
    starts_at = r.starts_at, spent_usd = r.spent_usd, at_risk_usd = r.at_risk_usd, reserved_usd = r.reserved_usd
FROM right_ones r JOIN budgets was USING (tenant, scope, name, period)
WHERE (b.tenant, b.scope, b.name, b.period) = (r.tenant, r.scope, r.name, r.period)
    AND (b.spent_usd, b.at_risk_usd, b.reserved_usd) IS DISTINCT FROM (r.spent_usd, r.at_risk_usd, r.reserved_usd)
RETURNING b.tenant, b.scope, b.name, b.period, was.starts_at >= r.starts_at
"""
_OVER: Final = """
SELECT count(*) FILTER (WHERE taken >= soft_usd), count(*) FILTER (WHERE taken >= hard_usd) FROM (
    SELECT soft_usd, hard_usd, CASE WHEN starts_at >= budget_starts_at(period, clock_timestamp())
        THEN spent_usd + at_risk_usd ELSE 0 END AS taken FROM budgets
) b
"""

Connection = psycopg.Connection[Any]


class Budget(NamedTuple):
    """One budget as it stands now."""

    tenant: str
    scope: Scope
    name: str
    period: Period
    soft_usd: Decimal | None
    hard_usd: Decimal | None
    spent_usd: Decimal
    at_risk_usd: Decimal
    reserved_usd: Decimal
    resets_at: datetime

    @property
    def key(self) -> BudgetKey:
        return BudgetKey(self.tenant, self.scope, self.name, self.period)

    @property
    def taken_usd(self) -> Decimal:
        """Paid, or perhaps paid: what no call under way gives back."""
        return self.spent_usd + self.at_risk_usd

    @property
    def left_usd(self) -> Decimal | None:
        """Of the hard limit; None where there is none."""
        return None if self.hard_usd is None else max(self.hard_usd - self.taken_usd - self.reserved_usd, Decimal(0))


def set_budget(connection: Connection, key: BudgetKey, soft_usd: Decimal | None, hard_usd: Decimal | None) -> None:
    """Limit what `key` may spend; a new budget counts what was spent in its period before. Safe to repeat."""
    with connection.transaction():
        is_new = connection.execute(_EXISTS, key).fetchone() is None
        if is_new:
            connection.execute(_ALONE)
        connection.execute(_SET, {**key._asdict(), "soft": soft_usd, "hard": hard_usd})
        if is_new:
            connection.execute(_REBUILD, {"tenant": key.tenant})


def remove_budget(connection: Connection, key: BudgetKey) -> bool:
    """Whether there was such a budget."""
    return connection.execute(_REMOVE, key).rowcount == 1


def budgets(connection: Connection, tenant: str | None = None) -> list[Budget]:
    """Every budget, or a tenant's, by key."""
    with connection.cursor(row_factory=class_row(Budget)) as cursor:
        return cursor.execute(_LIST, {"tenant": tenant}).fetchall()


def rebuild(connection: Connection, tenant: str | None = None) -> list[BudgetKey]:
    """Count budgets anew from the calls on record; those whose counters were wrong. Workers wait meanwhile."""
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_ALONE)
        rows = cursor.execute(_REBUILD, {"tenant": tenant}).fetchall()
    return sorted(BudgetKey(*key) for *key, is_of_this_period in rows if is_of_this_period)


class BudgetWatch:
    """Tells `seen` now and then how many budgets are at or over their soft and their hard limit."""

    def __init__(self, dsn: str, seen: Callable[[int, int], None]) -> None:
        self._connection = HealingConnection(dsn)
        self._seen = seen

    async def follow(self, interval_seconds: float = WATCH_SECONDS) -> None:
        """Runs until cancelled. While Postgres is away what was seen last holds."""
        try:
            while True:
                with contextlib.suppress(LedgerUnavailable):
                    await self.look()
                await asyncio.sleep(interval_seconds)
        finally:
            await self._connection.aclose()

    async def look(self) -> None:
        """Once. Raises LedgerUnavailable."""
        ((soft, hard),) = await self._connection.ask(_OVER, {})
        self._seen(soft, hard)
