"""Budgets in a dictionary, counted as Postgres counts them: by what changes, not by looking at every call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from streams.ledger.budgets import Asker, BudgetKey, Scope, Use, barring, keys_of, resets_at, starts_at

CallState = Literal["sent", "answered", "late", "ambiguous", "not_paid"]
_NOTHING = Decimal(0)


class Counted(Asker, Protocol):
    """Of a call what its budgets need."""

    @property
    def state(self) -> CallState: ...

    @property
    def sent_at(self) -> datetime: ...

    @property
    def reserved_usd(self) -> Decimal | None: ...

    @property
    def cost_usd(self) -> Decimal | None: ...


@dataclass(slots=True)
class Counters:
    """Of one period that began at `starts_at`."""

    starts_at: datetime
    spent_usd: Decimal = _NOTHING
    at_risk_usd: Decimal = _NOTHING
    reserved_usd: Decimal = _NOTHING

    def add(self, call: Counted, sign: int) -> None:
        """What `call` counts in its state, put on (1) or taken off (-1)."""
        reserved = sign * (call.reserved_usd or _NOTHING)
        match call.state:
            case "sent":
                self.reserved_usd += reserved
            case "ambiguous":
                self.at_risk_usd += reserved
            case "answered" | "late":
                self.spent_usd += reserved if call.cost_usd is None else sign * call.cost_usd
            case "not_paid":
                pass


@dataclass(slots=True)
class MemoryBudget:
    """One budget and its counters."""

    hard_usd: Decimal | None
    counters: Counters


@dataclass(slots=True)
class MemoryBudgets:
    """Every budget that is set."""

    budgets: dict[BudgetKey, MemoryBudget] = field(default_factory=dict)

    def set(self, key: BudgetKey, hard_usd: Decimal | None, calls: Iterable[Counted], now: datetime) -> None:
        """Limit what `key` may spend; what it has spent in this period counts."""
        self.budgets[key] = MemoryBudget(hard_usd, self.derived(key, calls, now))

    def derived(self, key: BudgetKey, calls: Iterable[Counted], now: datetime) -> Counters:
        """The counters of `key` as the calls on record have them."""
        counters = Counters(starts_at(key.period, now))
        for call in calls:
            if key in keys_of(call) and call.sent_at >= counters.starts_at:
                counters.add(call, 1)
        return counters

    def counters(self, key: BudgetKey, now: datetime) -> Counters:
        """Of the period of `now`: a new one begins with nothing."""
        budget = self.budgets[key]
        start = starts_at(key.period, now)
        if budget.counters.starts_at < start:
            budget.counters = Counters(start)
        return budget.counters

    def add(self, call: Counted, sign: int) -> None:
        for key in keys_of(call):
            budget = self.budgets.get(key)
            if budget is not None and call.sent_at >= budget.counters.starts_at:
                budget.counters.add(call, sign)

    def barring(self, asker: Asker, now: datetime) -> tuple[Scope, Use] | None:
        """The full budget of `asker` to tell of; None where none is full."""
        return barring(self._uses(asker, now))

    def _uses(self, asker: Asker, now: datetime) -> Iterator[tuple[Scope, Use]]:
        for key in keys_of(asker):
            budget = self.budgets.get(key)
            if budget is not None and budget.hard_usd is not None:
                at = self.counters(key, now)
                amounts = (budget.hard_usd, at.spent_usd, at.at_risk_usd, at.reserved_usd)
                yield key.scope, Use(key.period, *amounts, resets_at(key.period, now))
