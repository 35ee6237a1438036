"""Whatever owners do and however they die: counters are the calls on record, no limit is passed by a reservation."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ledger.budgets import PERIODS, BudgetKey, Period, Scope, Use, barring, refusal_of, resets_at, starts_at
from streams.ledger.memory_ledger import MemoryLedger, MemoryLedgerStore
from streams.ledger.port import Claimed, Crowded, Held, Refused, RequestKey, Wish
from tests.builders import Clock
from tests.ledgers import a_sending, amounts_of, answered, ended, released, unknown

RESERVED = Decimal("0.01")
LIMIT = Decimal("0.02")
BUDGETS = [
    BudgetKey("meridian", "tenant", "", "month"),
    BudgetKey("meridian", "department", "x", "day"),
    BudgetKey("meridian", "user", "eva", "day"),
    BudgetKey("meridian", "user", "tom", "month"),
]
KEYS = [RequestKey(f"meridian:{name}") for name in ("one", "two", "three")]
ACTIONS = ("claim", "claim", "send", "send", "answer", "unpriced", "release", "end", "unknown", "kill", "night", "set")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.integers(0, 2),
        st.sampled_from(KEYS),
        st.sampled_from([("x", "eva"), ("y", "tom"), (None, None)]),
    ),
    max_size=50,
)


class Histories:
    """Three workers that remember every claim they were ever given, as zombies do."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryLedgerStore()
        self.names = [f"worker-{n}" for n in range(3)]
        self.claims: dict[tuple[int, RequestKey], tuple[Wish, int, UUID]] = {}
        for key in BUDGETS[:3]:
            self.set(key)

    def set(self, key: BudgetKey) -> None:
        self.store.budgets.set(key, LIMIT, self.store.calls.values(), self.clock())

    async def step(self, action: str, number: int, key: RequestKey, asker: tuple[str | None, str | None]) -> None:
        ledger = MemoryLedger(self.names[number], self.clock, self.store)
        if action == "kill":
            self.store.kill(self.names[number])
            self.names[number] = f"worker-{uuid4()}"
        elif action == "night":
            self.clock.advance(timedelta(hours=13).total_seconds())
        elif action == "set":
            self.set(BUDGETS[3])
        elif action == "claim":
            wish = Wish(key, "meridian", uuid4(), department=asker[0], user_id=asker[1])
            (verdict,) = await ledger.claim([wish])
            if isinstance(verdict, Claimed):
                self.claims[number, key] = (wish, verdict.epoch, uuid4())
        elif (number, key) in self.claims:
            await self.under_a_claim(action, ledger, *self.claims[number, key])

    async def under_a_claim(self, action: str, ledger: MemoryLedger, wish: Wish, epoch: int, call_id: UUID) -> None:
        if action == "send":
            await ledger.mark_sent([a_sending(wish, epoch, call_id)])
            return
        if call_id not in self.store.calls and action != "release":
            return
        settlement = {
            "answer": lambda: answered(wish, epoch, call_id, cost_usd=RESERVED / 3),
            "unpriced": lambda: answered(wish, epoch, call_id, cost_usd=None),
            "release": lambda: released(wish, epoch, call_id),
            "end": lambda: ended(wish, epoch, call_id),
            "unknown": lambda: unknown(wish, epoch, call_id),
        }[action]()
        await ledger.settle([settlement])

    def check(self) -> None:
        for key in self.store.budgets.budgets:
            counters = self.store.budgets.counters(key, self.clock())
            derived = self.store.budgets.derived(key, self.store.calls.values(), self.clock())
            assert amounts_of(counters) == amounts_of(derived)
            if key != BUDGETS[3]:
                assert sum(amounts_of(counters)) < LIMIT + RESERVED


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_counters_are_what_the_calls_on_record_say_and_no_limit_is_passed_by_a_whole_reservation(
    steps: list[tuple[str, int, RequestKey, tuple[str | None, str | None]]],
) -> None:
    async def play() -> None:
        histories = Histories()
        for step in steps:
            await histories.step(*step)
            histories.check()

    asyncio.run(play())


@given(period=st.sampled_from(PERIODS), moment=st.datetimes(timezones=st.just(UTC)).filter(lambda at: at.year < 9999))
def test_every_moment_lies_in_one_period_that_ends_where_the_next_begins(period: Period, moment: datetime) -> None:
    start, end = starts_at(period, moment), resets_at(period, moment)
    assert start <= moment < end
    assert starts_at(period, end) == end
    assert starts_at(period, end - timedelta(microseconds=1)) == start
    assert end - start == timedelta(days=1) or start.day == end.day == 1


def a_use(spent: str = "0", at_risk: str = "0", reserved: str = "0", day: int = 27, hard: str = "10") -> Use:
    amounts = (Decimal(spent), Decimal(at_risk), Decimal(reserved))
    return Use("day", Decimal(hard), *amounts, resets_at=datetime(2026, 11, day, tzinfo=UTC))


def test_a_refusal_says_what_is_left_of_what_and_when_it_resets_and_names_nobody() -> None:
    told = refusal_of("user", a_use("9.1234567", "0.9"))
    assert (told.code, told.retryable) == ("budget_exceeded", True)
    assert told.message == (
        "the user's budget of $10.00 a day has $0.00 left ($9.123457 spent, $0.90 at risk); "
        "it resets at 2026-11-27T00:00:00Z. Ask again then, under a new request_id"
    )


@pytest.mark.parametrize(
    ("uses", "told"),
    [
        ([], None),
        ([("tenant", a_use("9.99"))], None),
        ([("tenant", a_use("1")), ("user", a_use("10"))], "user"),
        ([("tenant", a_use(reserved="10", day=30)), ("user", a_use("10"))], "user"),
        ([("tenant", a_use("10")), ("department", a_use("10", day=30))], "department"),
        ([("user", a_use("10")), ("tenant", a_use("10"))], "tenant"),
    ],
)
def test_of_several_full_budgets_one_used_up_that_resets_last_is_told(
    uses: list[tuple[Scope, Use]], told: str | None
) -> None:
    found = barring(uses)
    assert (None if found is None else found[0]) == told


def test_a_full_budget_of_one_asker_bars_its_calls_and_nobody_elses() -> None:
    async def play() -> None:
        store, clock = MemoryLedgerStore(), Clock()
        ledger = MemoryLedger("a", clock, store)
        store.budgets.set(BudgetKey("meridian", "user", "eva", "day"), Decimal(0), (), clock())
        wishes = [Wish(KEYS[0], "meridian", uuid4(), user_id=user) for user in ("eva", "tom", "eva")]
        verdicts = await ledger.claim(wishes)
        assert [type(verdict) for verdict in verdicts] == [Refused, Claimed, Held]
        assert Crowded() not in verdicts

    asyncio.run(play())
