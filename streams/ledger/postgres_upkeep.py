"""Deleting what the ledger no longer needs, in steps so small that no claim waits for one."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

_STEP_ROWS: Final = 1000
# Rows that a claim is looking at are left for the next time.
_ROWS: Final = """
DELETE FROM ledger WHERE key IN (
    SELECT key FROM ledger
    WHERE settled_at < clock_timestamp() - %(retention)s AND state IN ('answered', 'released', 'ended', 'unknown')
        AND coalesce(expires_at, settled_at) < clock_timestamp() - %(retention)s
    ORDER BY key LIMIT %(step)s FOR UPDATE SKIP LOCKED
)
"""
# Budgets are counted from the calls of the running month.
_CALLS: Final = """
DELETE FROM ledger_calls WHERE call_id IN (
    SELECT call_id FROM ledger_calls WHERE sent_at < clock_timestamp() - %(retention)s
        AND (sent_at < budget_starts_at('month', clock_timestamp()) OR NOT EXISTS (SELECT FROM budgets))
    LIMIT %(step)s FOR UPDATE SKIP LOCKED
)
"""
_REFUSALS: Final = """
DELETE FROM budget_refusals WHERE (tenant, request_id) IN (
    SELECT tenant, request_id FROM budget_refusals WHERE refused_at < clock_timestamp() - %(retention)s
    LIMIT %(step)s FOR UPDATE SKIP LOCKED
)
"""
_FORMER: Final = """
DELETE FROM ledger_former_answers WHERE (key, paid_by) IN (
    SELECT key, paid_by FROM ledger_former_answers WHERE replaced_at < clock_timestamp() - %(retention)s
    LIMIT %(step)s FOR UPDATE SKIP LOCKED
)
"""


class Pruned(NamedTuple):
    """How many were deleted."""

    rows: int
    calls: int


def prune(
    connection: psycopg.Connection[Any],
    retention: timedelta = timedelta(days=7),
    call_retention: timedelta = timedelta(90),
) -> Pruned:
    """Settled rows that expired longer ago than `retention`, calls sent longer ago than `call_retention`.

    Answers that were replaced and refusals that were told longer ago than `retention` go too, and count as rows. Calls
    of the running month stay while there are budgets to count them. A request redelivered after that may be paid again,
    so `retention` is to exceed that of the request topics. Each step is a transaction of its own on an autocommit
    connection. Safe to repeat and to run twice.
    """
    rows = sum(sum(_deleted(connection, each, retention)) for each in (_ROWS, _FORMER, _REFUSALS))
    return Pruned(rows, sum(_deleted(connection, _CALLS, call_retention)))


def _deleted(connection: psycopg.Connection[Any], statement: LiteralString, retention: timedelta) -> Iterator[int]:
    while True:
        count = connection.execute(statement, {"retention": retention, "step": _STEP_ROWS}).rowcount
        yield count
        if count < _STEP_ROWS:
            return
