"""Who goes next when not all can: laws of the round robin."""

from hypothesis import given
from hypothesis import strategies as st

from streams.limits.fair_queue import QUANTUM_TOKENS, FairQueue

MOST_TOKENS = 2000
TENANTS = ("meridian", "aurora", "borealis")
a_cost = st.integers(1, MOST_TOKENS)
a_backlog = st.lists(st.tuples(st.sampled_from(TENANTS), a_cost), min_size=1, max_size=60)
some_weights = st.fixed_dictionaries({tenant: st.sampled_from([0.5, 1.0, 2.0, 5.0]) for tenant in TENANTS})

Item = tuple[str, int, int]


def a_queue(backlog: list[tuple[str, int]], weights: dict[str, float] | None = None) -> FairQueue[Item]:
    queue: FairQueue[Item] = FairQueue(weights)
    for number, (tenant, tokens) in enumerate(backlog):
        queue.put(tenant, tokens, (tenant, tokens, number))
    return queue


def served(queue: FairQueue[Item], count: int) -> list[Item]:
    items = queue.peek(count)
    queue.drop(count)
    return items


@given(a_backlog, some_weights)
def test_everyone_is_served_once_and_each_tenant_in_its_order(
    backlog: list[tuple[str, int]], weights: dict[str, float]
) -> None:
    queue = a_queue(backlog, weights)
    order = served(queue, len(backlog))
    assert sorted(order, key=lambda item: item[2]) == [(*each, number) for number, each in enumerate(backlog)]
    for tenant in TENANTS:
        numbers = [number for name, _, number in order if name == tenant]
        assert numbers == sorted(numbers)
    assert len(queue) == 0


@given(a_backlog, st.data())
def test_looking_changes_nothing(backlog: list[tuple[str, int]], data: st.DataObject) -> None:
    looked, other = a_queue(backlog), a_queue(backlog)
    while len(other):
        looked.peek(data.draw(st.integers(0, len(backlog))))
        assert served(looked, 1) == served(other, 1)


@given(st.lists(a_cost, min_size=120, max_size=120), some_weights)
def test_who_waits_all_the_time_gets_tokens_by_weight_within_one_turn(
    costs: list[int], weights: dict[str, float]
) -> None:
    queue = a_queue([(tenant, cost) for cost in costs for tenant in TENANTS], weights)
    turns = dict.fromkeys(TENANTS, 0.0)
    left = dict.fromkeys(TENANTS, len(costs))
    while min(left.values()) > 0:
        [(tenant, tokens, _)] = served(queue, 1)
        turns[tenant] += tokens / weights[tenant]
        left[tenant] -= 1
        slack = QUANTUM_TOKENS + MOST_TOKENS / min(weights.values())
        assert max(turns.values()) - min(turns.values()) <= 2 * slack


@given(st.integers(1, 500), a_cost)
def test_one_call_does_not_wait_behind_anothers_ten_thousand(tokens: int, small: int) -> None:
    queue = a_queue([("flood", tokens)] * 1000)
    served(queue, 10)
    queue.put("small", small, ("small", small, 1000))
    position = [name for name, *_ in queue.peek(1000)].index("small")
    turns_of_small = small // QUANTUM_TOKENS + 1
    assert position <= (turns_of_small + 1) * (QUANTUM_TOKENS // tokens + 1)


def test_a_tenant_that_used_more_than_it_said_waits_for_it_afterwards() -> None:
    queue = a_queue([("liar", 500), ("honest", 500)] * 20)
    assert [name for name, *_ in served(queue, 2)] == ["liar", "honest"]
    queue.charge("liar", 2000)
    assert [name for name, *_ in served(queue, 4)] == ["honest"] * 4


def test_a_debt_is_remembered_while_others_wait_and_forgotten_when_nobody_does() -> None:
    queue = a_queue([("other", 500)] * 5)
    queue.charge("gone", 5000)
    queue.put("gone", 500, ("gone", 500, 9))
    assert [name for name, *_ in served(queue, 6)] == ["other"] * 5 + ["gone"]
    queue.put("gone", 500, ("gone", 500, 10))
    queue.put("other", 500, ("other", 500, 11))
    assert [name for name, *_ in served(queue, 2)] == ["gone", "other"]


@given(a_backlog, st.sampled_from(TENANTS))
def test_those_not_wanted_any_more_leave_and_the_others_stay(backlog: list[tuple[str, int]], leaving: str) -> None:
    queue = a_queue(backlog)
    queue.keep(lambda item: item[0] != leaving)
    staying = [each for each in backlog if each[0] != leaving]
    assert len(queue) == len(staying)
    assert {item[0] for item in served(queue, len(staying))} == {name for name, _ in staying}
