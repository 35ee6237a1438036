"""What every ledger promises of budgets: none is passed by more than one reservation, and counters are the calls."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.result import ErrorDetail
from streams.ledger.budgets import BudgetKey, Period, Scope, refusal_of
from streams.ledger.port import Claimed, Crowded, Held, Known, Refused, Settlement, Unknown, Verdict, Wish
from tests.ledgers import Amounts, Office, a_key, a_sending, a_wish, answered, ask, released, sent, unknown

NOTHING = (Decimal(0), Decimal(0), Decimal(0))
CENT = Decimal("0.01")
"""What `a_sending` reserves."""
SPENT = Decimal("0.000035")
"""What `answered` costs."""


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex}"


def budget(tenant: str, scope: Scope = "tenant", name: str = "", period: Period = "month") -> BudgetKey:
    """Of a month unless told otherwise: a test may run at midnight."""
    return BudgetKey(tenant, scope, name, period)


def wish_of(tenant: str, **fields: Any) -> Wish:
    return a_wish(a_key(), tenant=tenant, **fields)


def amounts(spent: str = "0", at_risk: str = "0", reserved: str = "0") -> Amounts:
    return Decimal(spent), Decimal(at_risk), Decimal(reserved)


async def pay(office: Office, wish: Wish, cost_usd: str = "0.01", name: str = "a") -> None:
    epoch, call_id = await sent(office.worker(name), wish)
    await office.worker(name).settle([answered(wish, epoch, call_id, cost_usd=Decimal(cost_usd))])


def refusal(verdict: Verdict) -> ErrorDetail:
    assert isinstance(verdict, Refused), verdict
    return refusal_of(verdict.scope, verdict.use)


async def test_a_call_under_way_is_reserved_and_a_settled_one_spent(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "1")
    wish = wish_of(tenant)
    assert isinstance(await ask(office.worker("a"), wish), Claimed)
    assert office.counters(budget(tenant)) == NOTHING, "a claim may wait long; only a call reserves"
    call_id = uuid4()
    assert await office.worker("a").mark_sent([a_sending(wish, 1, call_id)]) == [True]
    assert office.counters(budget(tenant)) == amounts(reserved="0.01")
    for _ in range(2):
        assert await office.worker("a").settle([answered(wish, 1, call_id)]) == [True]
        assert office.counters(budget(tenant)) == amounts(spent=str(SPENT))


async def test_when_nothing_is_left_a_request_is_refused_with_what_is_left_and_when_it_resets(
    office: Office, tenant: str
) -> None:
    office.set_budget(budget(tenant), "0.02")
    for _ in range(2):
        await pay(office, wish_of(tenant))
    verdict = await ask(office.worker("a"), wish_of(tenant))
    error = refusal(verdict)
    assert error.code == "budget_exceeded"
    assert "the tenant's budget of $0.02 a month has $0.00 left ($0.02 spent); it resets at 2" in error.message
    assert isinstance(verdict, Refused)
    assert timedelta(0) < verdict.use.resets_at - datetime.now(UTC) <= timedelta(days=31)
    assert (verdict.use.resets_at.day, verdict.use.resets_at.hour) == (1, 0)


async def test_the_last_call_may_pass_the_limit_by_less_than_it_reserved(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.015")
    for _ in range(2):
        await sent(office.worker("a"), wish_of(tenant))
    assert await ask(office.worker("a"), wish_of(tenant)) == Crowded()
    assert office.counters(budget(tenant)) == amounts(reserved="0.02")


async def test_what_calls_under_way_have_reserved_is_waited_for_and_then_had(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    first, second = wish_of(tenant), wish_of(tenant)
    epoch, call_id = await sent(office.worker("a"), first)
    assert await ask(office.worker("b"), second) == Crowded()
    await office.worker("a").settle([answered(first, epoch, call_id)])
    assert isinstance(await ask(office.worker("b"), second), Claimed)


async def test_who_is_out_of_patience_is_refused(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    await sent(office.worker("a"), wish_of(tenant))
    error = refusal(await ask(office.worker("a"), wish_of(tenant, patient=False)))
    assert "($0.00 spent, $0.01 reserved by calls under way)" in error.message


async def test_a_refused_request_is_refused_again_whatever_its_budget_allows_by_then(
    office: Office, tenant: str
) -> None:
    office.set_budget(budget(tenant), "0.01")
    await pay(office, wish_of(tenant))
    wish = wish_of(tenant)
    first = await ask(office.worker("a"), wish)
    office.set_budget(budget(tenant), "10")
    assert await ask(office.worker("b"), wish) == first
    assert await ask(office.worker("b"), a_wish(a_key(), wish.request_id, tenant)) == first, "under any key of it"
    assert isinstance(await ask(office.worker("b"), a_wish(wish.key, tenant=tenant)), Claimed)
    assert await ask(office.worker("b"), wish) == first, "and while another is asking"


async def test_what_was_paid_for_already_costs_nothing_and_is_not_refused(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    paid = wish_of(tenant)
    await pay(office, paid)
    assert await ask(office.worker("a"), a_wish(paid.key, tenant=tenant)) == Known(b"yes")
    assert await ask(office.worker("a"), paid) == Known(b"yes")


async def test_who_waits_for_anothers_call_reserves_nothing_and_is_not_refused(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant, "user", "eva"), "0")
    leader = wish_of(tenant, user_id="tom")
    await sent(office.worker("a"), leader)
    follower = a_wish(leader.key, tenant=tenant, user_id="eva")
    assert isinstance(await ask(office.worker("b"), follower), Held)
    assert office.counters(budget(tenant, "user", "eva")) == NOTHING


async def test_one_without_a_budget_does_not_keep_the_next_from_the_key(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant, "user", "eva"), "0")
    key = a_key()
    wishes = [a_wish(key, tenant=tenant, user_id=user) for user in ("eva", "tom", "eva", "tom")]
    verdicts = await office.worker("a").claim(wishes)
    assert [type(verdict) for verdict in verdicts[1:]] == [Claimed, Held, Held]
    assert type(verdicts[0]) in {Refused, Held}
    assert isinstance(await ask(office.worker("a"), wish_of(tenant, user_id="eva")), Refused)


async def test_of_two_claims_that_race_for_the_last_of_a_budget_one_is_sent_and_the_other_free(
    office: Office, tenant: str
) -> None:
    office.set_budget(budget(tenant, "user", "eva"), "0.01")
    wishes = [wish_of(tenant, user_id="eva") for _ in range(2)]
    assert [type(each) for each in await office.worker("a").claim(wishes)] == [Claimed, Claimed]
    marked = await office.worker("a").mark_sent([a_sending(wish, 1, uuid4()) for wish in wishes])
    assert sorted(marked) == [False, True]
    loser = wishes[marked.index(False)]
    assert await ask(office.worker("a"), loser) == Crowded()
    assert isinstance(await ask(office.worker("a"), a_wish(loser.key, tenant=tenant, user_id="tom")), Claimed)


async def test_budgets_of_tenant_department_and_user_and_of_day_and_month_all_hold(office: Office, tenant: str) -> None:
    keys = [
        budget(tenant, period="month"),
        budget(tenant, "department", "network", "month"),
        budget(tenant, "user", "eva", "day"),
    ]
    for key in keys:
        office.set_budget(key, "1")
    await pay(office, wish_of(tenant, department="network", user_id="eva"), "0.4")
    await pay(office, wish_of(tenant, department="voice", user_id="eva"), "0.3")
    await pay(office, wish_of(tenant), "0.2")
    assert [office.counters(key)[0] for key in keys] == [Decimal("0.9"), Decimal("0.4"), Decimal("0.7")]
    await pay(office, wish_of(tenant, department="network"), "0.6")
    refused = await ask(office.worker("a"), wish_of(tenant, department="network", user_id="eva"))
    assert isinstance(refused, Refused)
    assert (refused.scope, refused.use.period) in {("tenant", "month"), ("department", "month")}


async def test_a_department_over_its_budget_holds_up_no_other(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant, "department", "network"), "0")
    others = [wish_of(tenant, department="voice"), wish_of(tenant), wish_of(f"{tenant}-2", department="network")]
    verdicts = await office.worker("a").claim([wish_of(tenant, department="network"), *others])
    assert [type(verdict) for verdict in verdicts] == [Refused, Claimed, Claimed, Claimed]


async def test_a_budget_without_a_hard_limit_counts_and_refuses_nobody(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), None)
    await pay(office, wish_of(tenant), "100")
    await pay(office, wish_of(tenant), "100")
    assert office.counters(budget(tenant)) == amounts(spent="200")


async def test_a_call_that_was_not_paid_gives_back_what_it_reserved(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "1")
    wish = wish_of(tenant)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([released(wish, epoch, call_id)])
    assert office.counters(budget(tenant)) == NOTHING


async def test_a_call_of_unknown_end_stays_at_risk_until_it_is_known(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    wish = wish_of(tenant)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([unknown(wish, epoch, call_id)])
    assert office.counters(budget(tenant)) == amounts(at_risk="0.01")
    assert "$0.01 at risk" in refusal(await ask(office.worker("a"), wish)).message
    late = answered(wish, epoch, call_id, cost_usd=Decimal("0.002"))
    await office.worker("a").settle([late])
    assert office.counters(budget(tenant)) == amounts(spent="0.002")


async def test_what_a_dead_owner_sent_is_at_risk_once_it_is_missed(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    wish = wish_of(tenant)
    _, call_id = await sent(office.worker("a"), wish)
    office.kill("a")
    assert await ask(office.worker("b"), wish) == Crowded()
    assert office.call_state(call_id) == "ambiguous"
    assert office.counters(budget(tenant)) == amounts(at_risk="0.01")
    assert isinstance(await ask(office.worker("b"), wish), Refused), "nothing is under way that could give it back"


async def test_what_a_dead_owner_had_only_claimed_reserves_nothing(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    wish = wish_of(tenant)
    await ask(office.worker("a"), wish)
    office.kill("a")
    assert office.counters(budget(tenant)) == NOTHING
    assert isinstance(await ask(office.worker("b"), a_wish(wish.key, tenant=tenant)), Claimed)


async def test_an_exhausted_key_ends_as_unknown_and_not_as_refused(office: Office, tenant: str) -> None:
    wish = wish_of(tenant, retry_ambiguous=False)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([unknown(wish, epoch, call_id)])
    assert await ask(office.worker("a"), wish) == Unknown(1)
    office.set_budget(budget(tenant), "0")
    assert await ask(office.worker("a"), wish) == Unknown(1), "the same end as before"


async def test_a_paid_call_of_unknown_price_counts_at_what_it_reserved(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "1")
    wish = wish_of(tenant)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([answered(wish, epoch, call_id, cost_usd=None)])
    assert office.counters(budget(tenant)) == amounts(spent="0.01")


async def test_a_new_budget_counts_what_was_spent_before_it(office: Office, tenant: str) -> None:
    await pay(office, wish_of(tenant, user_id="eva"), "0.3")
    await pay(office, wish_of(tenant, user_id="tom"), "0.2")
    await sent(office.worker("a"), wish_of(tenant, user_id="eva"))
    office.set_budget(budget(tenant, "user", "eva", "month"), "0.2")
    assert office.counters(budget(tenant, "user", "eva", "month")) == amounts(spent="0.3", reserved="0.01")
    assert isinstance(await ask(office.worker("a"), wish_of(tenant, user_id="eva")), Refused)


async def test_a_new_period_begins_with_nothing_and_ignores_calls_of_the_old_one(office: Office, tenant: str) -> None:
    office.set_budget(budget(tenant), "0.01")
    await pay(office, wish_of(tenant))
    assert isinstance(await ask(office.worker("a"), wish_of(tenant)), Refused)
    office.let_pass(budget(tenant))
    assert office.counters(budget(tenant)) == NOTHING
    await sent(office.worker("a"), wish_of(tenant))
    assert office.counters(budget(tenant)) == amounts(reserved="0.01")


async def test_a_tie_of_reservations_in_one_batch_lets_as_many_go_as_there_is_room_for(
    office: Office, tenant: str
) -> None:
    office.set_budget(budget(tenant), "0.045")
    wishes = [wish_of(tenant) for _ in range(20)]
    await office.worker("a").claim(wishes)
    marked = await office.worker("a").mark_sent([a_sending(wish, 1, uuid4()) for wish in wishes])
    assert marked.count(True) == 5
    assert office.counters(budget(tenant)) == amounts(reserved="0.05")


class Customer:
    """Asks until it is answered or refused, as a payer does."""

    def __init__(self, office: Office, random: Random) -> None:
        self.office = office
        self.random = random
        self.cost = Decimal(0)
        self.refused = 0

    async def buy(self, wish: Wish, worker: str) -> None:
        ledger = self.office.worker(worker)
        while True:
            match await ask(ledger, wish):
                case Claimed(epoch):
                    call_id = uuid4()
                    if not (await ledger.mark_sent([a_sending(wish, epoch, call_id)]))[0]:
                        continue
                    await asyncio.sleep(self.random.random() / 100)
                    if (await ledger.settle([self.settlement(wish, epoch, call_id)]))[0]:
                        return
                case Refused():
                    self.refused += 1
                    return
                case _:
                    await asyncio.sleep(0.01)

    def settlement(self, wish: Wish, epoch: int, call_id: UUID) -> Settlement:
        cost = CENT * self.random.randint(1, 10) / 10
        self.cost += cost
        return answered(wish, epoch, call_id, cost_usd=cost)


async def test_many_workers_together_pass_no_budget_by_more_than_a_reservation(office: Office, tenant: str) -> None:
    users = [f"u{number}" for number in range(6)]
    keys = [
        budget(tenant),
        budget(tenant, period="day"),
        *(budget(tenant, "user", user) for user in users),
        *(budget(tenant, "department", name) for name in ("x", "y")),
    ]
    limits = {"tenant": Decimal("0.30"), "user": Decimal("0.10"), "department": Decimal("0.20")}
    for key in keys:
        office.set_budget(key, str(limits[key.scope]))
    today = datetime.now(UTC).date()
    customer = Customer(office, Random(11))  # noqa: S311 - a history
    wishes = [wish_of(tenant, user_id=users[n % 6], department="xy"[n % 2]) for n in range(150)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(customer.buy(wish, f"w{n % 4}") for n, wish in enumerate(wishes)))
    assert customer.refused > 0
    assert office.counters(budget(tenant))[0] == customer.cost
    assert customer.cost >= limits["tenant"], "what there is left is not refused"
    for key in keys:
        if key.period == "day" and datetime.now(UTC).date() != today:
            continue  # it began at midnight
        spent, at_risk, reserved = office.counters(key)
        assert at_risk == reserved == 0
        assert spent < limits[key.scope] + CENT
        assert office.counters(key) == office.derived(key)
