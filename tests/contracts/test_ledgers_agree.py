"""The ledger in memory and the one in Postgres, told the same, say the same: verdicts, marks, and every counter."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from uuid import UUID, uuid4

import pytest

from ops.migrations.apply import migrate_postgres
from streams.ledger.budgets import BudgetKey
from streams.ledger.port import Claimed, Held, RequestKey, Settlement, Verdict, Wish
from tests.ledgers import Office, a_key, a_sending, a_wish, answered, ended, memory_office, postgres_office, unknown
from tests.ledgers import released as given_back

ACTIONS = (
    "claim",
    "claim",
    "claim",
    "send",
    "send",
    "answer",
    "answer",
    "unpriced",
    "release",
    "end",
    "unknown",
    "kill",
)
ASKERS = (("x", "eva"), ("y", "tom"), ("x", None), (None, None))


@pytest.fixture
async def offices(postgres_dsn: str) -> AsyncIterator[list[Office]]:
    migrate_postgres(postgres_dsn, datetime.now(UTC))
    made = [memory_office(), postgres_office(postgres_dsn)]
    yield made
    for office in made:
        await office.aclose()


class Twins:
    """Two offices, one history."""

    def __init__(self, offices: list[Office], seed: int) -> None:
        self.offices = offices
        self.random = Random(seed)  # noqa: S311 - a history
        self.tenant = f"t-{uuid4().hex}"
        self.keys = [a_key() for _ in range(4)]
        self.names = ["w0", "w1", "w2"]
        self.claims: dict[tuple[int, RequestKey], tuple[Wish, int, UUID]] = {}
        self.seen: list[Wish] = []
        self.budgets = [
            BudgetKey(self.tenant, "tenant", "", "month"),
            BudgetKey(self.tenant, "department", "x", "month"),
            BudgetKey(self.tenant, "user", "eva", "month"),
        ]
        for office in offices:
            for key, limit in zip(self.budgets, ("0.09", "0.05", "0.02"), strict=True):
                office.set_budget(key, limit)

    async def step(self) -> None:
        action, number = self.random.choice(ACTIONS), self.random.randrange(3)
        key = self.random.choice(self.keys)
        if action == "kill":
            for office in self.offices:
                office.kill(self.names[number])
            self.names[number] = f"w-{uuid4().hex}"
        elif action == "claim":
            await self.claim(number, key)
        elif (number, key) in self.claims:
            await self.go_on(action, number, key)
        for budget in self.budgets:
            memory, postgres = (office.counters(budget) for office in self.offices)
            assert memory == postgres, (action, budget)

    async def claim(self, number: int, key: RequestKey) -> None:
        department, user = self.random.choice(ASKERS)
        wish = a_wish(key, tenant=self.tenant, department=department, user_id=user, patient=self.random.random() < 0.8)
        if self.seen and self.random.random() < 0.3:
            wish = self.random.choice(self.seen)
        self.seen.append(wish)
        verdicts = [(await office.worker(self.names[number]).claim([wish]))[0] for office in self.offices]
        assert told(verdicts[0]) == told(verdicts[1])
        if isinstance(verdicts[0], Claimed):
            self.claims[number, wish.key] = (wish, verdicts[0].epoch, uuid4())

    async def go_on(self, action: str, number: int, key: RequestKey) -> None:
        wish, epoch, call_id = self.claims[number, key]
        replies = []
        for office in self.offices:
            ledger = office.worker(self.names[number])
            if action == "send":
                replies.append(await ledger.mark_sent([a_sending(wish, epoch, call_id)]))
            else:
                replies.append(await ledger.settle([self.settlement(action, wish, epoch, call_id)]))
        assert replies[0] == replies[1], action

    def settlement(self, action: str, wish: Wish, epoch: int, call_id: UUID) -> Settlement:
        match action:
            case "answer":
                expires_at = datetime.now(UTC)
                return answered(wish, epoch, call_id, cost_usd=Decimal("0.004"), expires_at=expires_at)
            case "unpriced":
                return answered(wish, epoch, call_id, cost_usd=None)
            case "end":
                return ended(wish, epoch, call_id)
            case "unknown":
                return unknown(wish, epoch, call_id)
            case _:
                return given_back(wish, epoch, call_id)


def told(verdict: Verdict) -> object:
    """What both have to say alike; their owners have names of their own."""
    return Held if isinstance(verdict, Held) else verdict


@pytest.mark.parametrize("seed", range(6))
async def test_one_history_told_to_both_is_counted_alike_and_as_the_calls_on_record_say(
    offices: list[Office], seed: int
) -> None:
    twins = Twins(offices, seed)
    for _ in range(120):
        await twins.step()
    for key in twins.budgets:
        assert {office.counters(key) for office in offices} == {office.derived(key) for office in offices}
