"""A ledger with several owners on it, in memory or in Postgres, and requests to ask it with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg

from schemas.result import ErrorDetail, Usage
from streams.ledger.budgets import BudgetKey
from streams.ledger.memory_budgets import Counters
from streams.ledger.memory_ledger import MemoryLedger, MemoryLedgerStore
from streams.ledger.port import Claimed, Ledger, RequestKey, Sending, Settlement, Verdict, Wish
from streams.ledger.postgres_budgets import Budget, budgets, rebuild, set_budget
from streams.ledger.postgres_ledger import PostgresLedger

Amounts = tuple[Decimal, Decimal, Decimal]
"""Spent, at risk, reserved."""

BROKEN = ErrorDetail(code="invalid_request_error", message="too long", retryable=False)


@dataclass
class Office:
    """Where workers meet: `worker(name)` is one owner's ledger."""

    worker: Callable[[str], Ledger]
    kill: Callable[[str], None]
    call_state: Callable[[UUID], str]
    call_cost: Callable[[UUID], Decimal | None]
    set_budget: Callable[[BudgetKey, str | None], None]
    counters: Callable[[BudgetKey], Amounts]
    derived: Callable[[BudgetKey], Amounts]
    """The counters as the calls on record have them."""
    let_pass: Callable[[BudgetKey], None]
    """As if the period of its counters were over."""
    aclose: Callable[[], Awaitable[None]]


def memory_office() -> Office:
    store = MemoryLedgerStore()

    async def aclose() -> None:
        pass

    def set_budget(key: BudgetKey, hard_usd: str | None) -> None:
        limit = None if hard_usd is None else Decimal(hard_usd)
        store.budgets.set(key, limit, store.calls.values(), datetime.now(UTC))

    def let_pass(key: BudgetKey) -> None:
        store.budgets.budgets[key].counters.starts_at -= timedelta(days=31)

    return Office(
        lambda name: MemoryLedger(name, lambda: datetime.now(UTC), store),
        store.kill,
        lambda call_id: store.calls[call_id].state,
        lambda call_id: store.calls[call_id].cost_usd,
        set_budget,
        lambda key: amounts_of(store.budgets.counters(key, datetime.now(UTC))),
        lambda key: amounts_of(store.budgets.derived(key, store.calls.values(), datetime.now(UTC))),
        let_pass,
        aclose,
    )


def amounts_of(counted: Counters | Budget) -> Amounts:
    return counted.spent_usd, counted.at_risk_usd, counted.reserved_usd


@dataclass
class _PostgresOffice:
    dsn: str
    ledgers: dict[str, PostgresLedger] = field(default_factory=dict)
    suffix: str = field(default_factory=lambda: uuid4().hex)

    def worker(self, name: str) -> PostgresLedger:
        return self.ledgers.setdefault(name, PostgresLedger(self.dsn, self.named(name)))

    def named(self, name: str) -> str:
        return f"{name}-{self.suffix}"

    def kill(self, name: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("UPDATE ledger_owners SET alive_until = now() WHERE owner = %s", (self.named(name),))

    def call(self, column: str, call_id: UUID) -> Any:
        with psycopg.connect(self.dsn) as connection:
            query = f"SELECT {column} FROM ledger_calls WHERE call_id = %s"
            (value,) = connection.execute(query.encode(), (call_id,)).fetchone() or (None,)
        return value

    def set_budget(self, key: BudgetKey, hard_usd: str | None) -> None:
        # One that has no hard limit has a soft one.
        soft = Decimal(0) if hard_usd is None else None
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            set_budget(connection, key, soft, None if hard_usd is None else Decimal(hard_usd))

    def counters(self, key: BudgetKey) -> Amounts:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            (found,) = [budget for budget in budgets(connection, key.tenant) if budget.key == key]
        return amounts_of(found)

    def derived(self, key: BudgetKey) -> Amounts:
        with psycopg.connect(self.dsn) as connection:
            connection.execute("SELECT")  # a transaction to take it back with
            rebuild(connection, key.tenant)
            (found,) = [budget for budget in budgets(connection, key.tenant) if budget.key == key]
            connection.rollback()
        return amounts_of(found)

    def let_pass(self, key: BudgetKey) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "UPDATE budgets SET starts_at = starts_at - interval '31 days' WHERE tenant = %s", (key.tenant,)
            )

    async def aclose(self) -> None:
        for ledger in self.ledgers.values():
            await ledger.aclose()


def postgres_office(dsn: str) -> Office:
    office = _PostgresOffice(dsn)
    return Office(
        office.worker,
        office.kill,
        lambda call_id: str(office.call("state", call_id)),
        lambda call_id: office.call("cost_usd", call_id),
        office.set_budget,
        office.counters,
        office.derived,
        office.let_pass,
        office.aclose,
    )


def a_key() -> RequestKey:
    return RequestKey(f"meridian:{uuid4().hex}")


def a_wish(key: RequestKey, request_id: UUID | None = None, tenant: str = "meridian", **fields: Any) -> Wish:
    return Wish(key, tenant, request_id or uuid4(), **fields)


async def ask(ledger: Ledger, wish: Wish) -> Verdict:
    (verdict,) = await ledger.claim([wish])
    return verdict


async def sent(ledger: Ledger, wish: Wish) -> tuple[int, UUID]:
    """Claim and mark as sent: the epoch and the call."""
    verdict = await ask(ledger, wish)
    assert isinstance(verdict, Claimed), verdict
    call_id = uuid4()
    assert await ledger.mark_sent([a_sending(wish, verdict.epoch, call_id)]) == [True]
    return verdict.epoch, call_id


def a_sending(wish: Wish, epoch: int, call_id: UUID, reserved_usd: Decimal = Decimal("0.01")) -> Sending:
    return Sending(
        wish.key,
        epoch,
        call_id,
        wish.request_id,
        wish.tenant,
        "claude-haiku-5-5",
        reserved_usd,
        wish.department,
        wish.user_id,
    )


def answered(wish: Wish, epoch: int, call_id: UUID | None, answer: bytes = b"yes", **fields: Any) -> Settlement:
    given: dict[str, Any] = {
        "usage": Usage(input_tokens=10, output_tokens=5),
        "cost_usd": Decimal("0.000035"),
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    return Settlement(wish.key, epoch, wish.request_id, "answered", call_id, answer, **given | fields)


def ended(wish: Wish, epoch: int, call_id: UUID | None = None, attempts: int = 1) -> Settlement:
    return Settlement(wish.key, epoch, wish.request_id, "ended", call_id, attempts=attempts, error=BROKEN)


def released(wish: Wish, epoch: int, call_id: UUID | None = None, attempts: int = 0) -> Settlement:
    return Settlement(wish.key, epoch, wish.request_id, "released", call_id, attempts=attempts)


def unknown(wish: Wish, epoch: int, call_id: UUID) -> Settlement:
    return Settlement(wish.key, epoch, wish.request_id, "unknown", call_id)
