"""`MemoryLedger`: the ledger's contract in dictionaries. Several owners may share one store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, assert_never
from uuid import UUID

from schemas.result import ErrorDetail, Usage
from streams.ledger.memory_budgets import CallState, MemoryBudgets
from streams.ledger.port import (
    Claimed,
    Crowded,
    Ended,
    Held,
    Known,
    Refused,
    RequestKey,
    Sending,
    Settlement,
    Unknown,
    Verdict,
    Wish,
)
from streams.ledger.settlements import require_complete

RowState = Literal["claimed", "sent", "answered", "released", "ended", "unknown"]

_REPEATS: Final = 1
"""How many ambiguous calls of one key may be followed by another."""


@dataclass(slots=True)
class LedgerRow:
    """One key. The last paid answer outlives later claims, until a newer one takes its place; then its payer has it."""

    tenant: str
    state: RowState
    owner: str
    request_id: UUID
    epoch: int = 1
    attempts: int = 0
    ambiguous: int = 0
    call_id: UUID | None = None
    answer: bytes | None = None
    paid_by: UUID | None = None
    cost_usd: Decimal | None = None
    expires_at: datetime | None = None
    error: ErrorDetail | None = None
    former: dict[UUID, bytes] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        return self.state in {"claimed", "sent"}


@dataclass(slots=True)
class LedgerCall:
    """One call that was sent, and what became of it."""

    key: RequestKey
    epoch: int
    request_id: UUID
    tenant: str
    model: str
    reserved_usd: Decimal | None
    department: str | None
    user_id: str | None
    sent_at: datetime
    state: CallState = "sent"
    usage: Usage | None = None
    cost_usd: Decimal | None = None


@dataclass(slots=True)
class MemoryLedgerStore:
    """What several ledgers share. Every owner lives until it is killed."""

    rows: dict[RequestKey, LedgerRow] = field(default_factory=dict)
    calls: dict[UUID, LedgerCall] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    budgets: MemoryBudgets = field(default_factory=MemoryBudgets)
    refusals: dict[tuple[str, UUID], Refused] = field(default_factory=dict)

    def kill(self, owner: str) -> None:
        """Its heartbeat is past: what it held may be claimed by others."""
        self.dead.add(owner)

    def revive(self, owner: str) -> None:
        """A paused owner goes on, its heartbeat with it."""
        self.dead.discard(owner)


class MemoryLedger:
    """One owner's view of a store."""

    def __init__(self, owner: str, now: Callable[[], datetime], store: MemoryLedgerStore | None = None) -> None:
        self.owner = owner
        self.store = MemoryLedgerStore() if store is None else store
        self._now = now

    async def claim(self, wishes: Sequence[Wish]) -> list[Verdict]:
        """See Ledger."""
        return [self._claim(wish) for wish in wishes]

    async def mark_sent(self, sendings: Sequence[Sending]) -> list[bool]:
        """See Ledger."""
        return [self._mark_sent(sending) for sending in sendings]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See Ledger."""
        require_complete(settlements)
        return [self._settle(settlement) for settlement in settlements]

    def _claim(self, wish: Wish) -> Verdict:
        row = self.store.rows.get(wish.key)
        refused = self.store.refusals.get((wish.tenant, wish.request_id))
        if refused is not None and (row is None or row.paid_by != wish.request_id):
            return refused
        if row is not None and (known := self._known(row, wish)) is not None:
            return known
        if row is not None and self._is_held(row):
            return Held(row.owner)
        bar = self._bar(wish)
        if row is not None:
            return self._claim_again(row, wish, bar)
        if bar is None:
            self.store.rows[wish.key] = LedgerRow(wish.tenant, "claimed", self.owner, wish.request_id)
            return Claimed(epoch=1, attempts=0, ambiguous=0)
        return self._barred(bar, wish)

    def _bar(self, wish: Wish) -> Refused | Crowded | None:
        found = self.store.budgets.barring(wish, self._now())
        if found is None:
            return None
        return Refused(*found) if found[1].is_used_up or not wish.patient else Crowded()

    def _barred(self, bar: Refused | Crowded, wish: Wish) -> Refused | Crowded:
        if isinstance(bar, Refused):
            self.store.refusals[wish.tenant, wish.request_id] = bar
        return bar

    def _known(self, row: LedgerRow, wish: Wish) -> Known | Ended | None:
        if wish.request_id in row.former and row.paid_by != wish.request_id:
            return Known(row.former[wish.request_id], former=True)
        if row.answer is not None and self._serves(row, wish):
            return Known(row.answer)
        if row.state == "ended" and row.request_id == wish.request_id and row.error is not None:
            return Ended(row.error, row.attempts)
        return None

    def _is_held(self, row: LedgerRow) -> bool:
        return row.held and (row.owner == self.owner or row.owner not in self.store.dead)

    def _claim_again(self, row: LedgerRow, wish: Wish, bar: Refused | Crowded | None) -> Verdict:
        if row.state == "sent":
            self._lost_sight(row)
        if row.state == "unknown" and not (wish.retry_ambiguous and row.ambiguous <= _REPEATS):
            return Unknown(row.ambiguous)
        if bar is not None:
            return self._barred(bar, wish)
        if row.state in {"answered", "ended"}:
            row.attempts = row.ambiguous = 0
        return self._taken(row, wish)

    def _serves(self, row: LedgerRow, wish: Wish) -> bool:
        fresh = row.expires_at is not None and row.expires_at > self._now()
        return row.paid_by == wish.request_id or (fresh and not wish.refresh)

    def _taken(self, row: LedgerRow, wish: Wish) -> Claimed:
        row.state, row.owner, row.request_id = "claimed", self.owner, wish.request_id
        row.epoch += 1
        row.call_id = row.error = None
        return Claimed(row.epoch, row.attempts, row.ambiguous)

    def _lost_sight(self, row: LedgerRow) -> None:
        row.state = "unknown"
        row.ambiguous += 1
        if row.call_id is not None:
            self._change(self.store.calls[row.call_id], "ambiguous")

    def _change(self, call: LedgerCall, state: CallState) -> None:
        self.store.budgets.add(call, -1)
        call.state = state
        self.store.budgets.add(call, 1)

    def _mark_sent(self, sending: Sending) -> bool:
        row = self.store.rows.get(sending.key)
        if row is None or row.epoch != sending.epoch:
            return False
        if row.state == "sent":
            return row.call_id == sending.call_id
        if row.state != "claimed":
            return False
        now = self._now()
        if self.store.budgets.barring(sending, now) is not None:
            row.state = "released"
            return False
        row.state, row.call_id = "sent", sending.call_id
        call = LedgerCall(
            sending.key,
            sending.epoch,
            sending.request_id,
            sending.tenant,
            sending.model,
            sending.reserved_usd,
            sending.department,
            sending.user_id,
            now,
        )
        self.store.calls[sending.call_id] = call
        self.store.budgets.add(call, 1)
        return True

    def _settle(self, settlement: Settlement) -> bool:
        row = self.store.rows.get(settlement.key)
        if row is None or row.epoch != settlement.epoch or not row.held:
            return self._settled_late(row, settlement)
        self._record_call(settlement.call_id or row.call_id, settlement, paid="answered")
        row.state = settlement.outcome
        if settlement.outcome == "unknown":
            row.ambiguous += 1
            row.attempts = max(row.attempts, settlement.attempts)
            return True
        row.attempts = settlement.attempts
        row.error = settlement.error
        if settlement.outcome == "answered":
            if row.answer is not None and row.paid_by is not None and row.paid_by != settlement.request_id:
                row.former[row.paid_by] = row.answer
            row.answer, row.expires_at = settlement.answer, settlement.expires_at
            row.paid_by, row.cost_usd = settlement.request_id, settlement.cost_usd
        return True

    def _settled_late(self, row: LedgerRow | None, settlement: Settlement) -> bool:
        """True for a repetition of what was settled before."""
        call = self.store.calls.get(settlement.call_id) if settlement.call_id else None
        if settlement.outcome == "answered" and call is not None and call.state == "answered":
            return True
        self._record_call(settlement.call_id, settlement, paid="late")
        return row is not None and (row.epoch, row.state) == (settlement.epoch, settlement.outcome)

    def _record_call(self, call_id: UUID | None, settlement: Settlement, paid: CallState) -> None:
        call = self.store.calls.get(call_id) if call_id else None
        if call is None or call.state not in {"sent", "ambiguous"}:
            return
        match settlement.outcome:
            case "answered":
                call.usage, call.cost_usd = settlement.usage, settlement.cost_usd
                self._change(call, paid)
            case "unknown":
                self._change(call, "ambiguous")
            case "released" | "ended":
                self._change(call, "not_paid")
            case _:
                assert_never(settlement.outcome)
