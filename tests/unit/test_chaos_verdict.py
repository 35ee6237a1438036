"""The judge of the fault machine: books that agree pass, and each broken promise is found and named."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from ops.chaos.load import Accepted, Load, LoadShape
from ops.chaos.offset_watch import committed_early
from ops.chaos.recovery import recovery_seconds
from ops.chaos.verdict import Books, Entry, Expectation, ModelCall, Paid, Question, violations

PAYER, FOLLOWER, OTHER = (UUID(int=number) for number in (1, 2, 3))
COST = Paid(10, 20, Decimal("0.001"))
FREE = Paid(0, 0, Decimal(0))


def a_payer(request_id: UUID = PAYER, paid: Paid = COST) -> Entry:
    return Entry(request_id, "completed", "model", paid, request_id, "text")


def a_follower(request_id: UUID = FOLLOWER, paid_by: UUID = PAYER) -> Entry:
    return Entry(request_id, "completed", "shared_flight", FREE, paid_by, "text")


def good_books() -> Books:
    """Two requests with one key, one with another: two calls."""
    results = (a_payer(), a_follower(), a_payer(OTHER))
    return Books(
        accepted=(Question(PAYER, "a", "a:x"), Question(FOLLOWER, "a", "a:x"), Question(OTHER, "b", "b:x")),
        topic=(*results, a_payer()),
        model=(ModelCall(PAYER, COST), ModelCall(OTHER, COST)),
        postgres=results,
        clickhouse=tuple(replace(each, answer="") for each in results),
    )


def broken_in(books: Books, expects: Expectation | None = None) -> set[str]:
    return {each.invariant for each in violations(books, expects or Expectation(ambiguous=False))}


def test_books_that_agree_hold_every_promise() -> None:
    assert violations(good_books(), Expectation(ambiguous=False)) == []


def without(book: tuple[Entry, ...] | list[Entry], request_id: UUID) -> tuple[Entry, ...]:
    return tuple(each for each in book if each.request_id != request_id)


WRONG: dict[str, tuple[str, Callable[[Books], Books]]] = {
    "no result on the topic": ("A", lambda b: replace(b, topic=without([*b.topic], FOLLOWER))),
    "no row in Postgres": ("A", lambda b: replace(b, postgres=without([*b.postgres], FOLLOWER))),
    "no row in ClickHouse": ("A", lambda b: replace(b, clickhouse=without([*b.clickhouse], FOLLOWER))),
    "two rows in ClickHouse": ("A", lambda b: replace(b, clickhouse=(*b.clickhouse, b.clickhouse[1]))),
    "a row nobody asked for": ("A", lambda b: replace(b, postgres=(*b.postgres, a_follower(UUID(int=9))))),
    "still pending": (
        "A",
        lambda b: replace(b, postgres=(*b.postgres[:2], replace(b.postgres[2], status="pending"))),
    ),
    "another answer the second time": (
        "A",
        lambda b: replace(b, topic=(*b.topic, replace(a_payer(), answer="another text"))),
    ),
    "a cost in one store alone": (
        "A",
        lambda b: replace(b, postgres=(*b.postgres[:2], a_payer(OTHER, COST._replace(cost_usd=Decimal("0.002"))))),
    ),
    "a dead letter": ("A", lambda b: replace(b, dead_letters=1)),
    "a poison record without a dead letter": ("A", lambda b: replace(b, strangers=1)),
    "a record refused": ("A", lambda b: replace(b, refused=1)),
    "two calls for one key": ("P", lambda b: replace(b, model=(*b.model, ModelCall(FOLLOWER, COST)))),
    "a call for nobody": ("P", lambda b: replace(b, model=(*b.model, ModelCall(UUID(int=9), COST)))),
    "an ambiguous call without a cause": ("P", lambda b: replace(b, ambiguous={"a:x": 1})),
    "a charged call no store has": (
        "C",
        lambda b: replace(b, postgres=(a_follower(PAYER), *b.postgres[1:])),
    ),
    "a cost the model never charged": (
        "C",
        lambda b: replace(b, clickhouse=(*b.clickhouse[:1], replace(a_payer(FOLLOWER), answer=""), b.clickhouse[2])),
    ),
    "an answer without a call": ("C", lambda b: replace(b, model=b.model[:1])),
    "tokens that were not charged": (
        "C",
        lambda b: replace(b, clickhouse=(*b.clickhouse[:2], a_payer(OTHER, COST._replace(output_tokens=21)))),
    ),
    "an offset ahead of its work": ("O", lambda b: replace(b, committed_early=(OTHER,))),
    "lag zero without a result": ("O", lambda b: replace(b, topic=without([*b.topic], OTHER))),
    "lag that stays": ("L", lambda b: replace(b, lag=3)),
    "lag nobody can tell": ("L", lambda b: replace(b, lag=None)),
    "lag zero too late": ("L", lambda b: replace(b, healed_seconds=61)),
    "another tenant's answer": (
        "S",
        lambda b: replace(b, topic=(*b.topic[:2], a_follower(OTHER, PAYER), *b.topic[3:])),
    ),
    "a prompt in a log": ("S", lambda b: replace(b, leaks=("worker-1.log",))),
}


@pytest.mark.parametrize(("invariant", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_a_broken_promise_is_found(invariant: str, wrong: Callable[[Books], Books]) -> None:
    assert invariant in broken_in(wrong(good_books()))


def test_a_dead_workers_work_must_be_taken_up_in_time_where_the_fault_says_so() -> None:
    slow = replace(good_books(), recovery_seconds=20.1)
    assert broken_in(slow) == set()
    assert broken_in(slow, Expectation(recovery_seconds=20)) == {"L"}


def test_a_violation_names_the_requests() -> None:
    found = violations(WRONG["no row in Postgres"][1](good_books()), Expectation())
    assert {each.request_ids for each in found} == {(str(FOLLOWER),)}


def test_a_recorded_ambiguous_call_may_be_paid_once_more_and_be_missing_in_the_stores() -> None:
    twice = replace(good_books(), model=(*good_books().model, ModelCall(FOLLOWER, COST)), ambiguous={"a:x": 1})
    assert broken_in(twice, Expectation(ambiguous=True)) == set()


def test_an_ambiguous_call_of_one_key_excuses_no_other_key() -> None:
    twice = replace(good_books(), model=(*good_books().model, ModelCall(FOLLOWER, COST)), ambiguous={"b:x": 1})
    assert broken_in(twice, Expectation(ambiguous=True)) == {"P", "C"}


def test_one_id_for_two_questions_may_be_answered_twice_on_the_topic_and_once_in_each_store() -> None:
    books = good_books()
    reused = Question(OTHER, "b", "b:y")
    second = replace(a_payer(OTHER), answer="of the other question")
    both = replace(
        books,
        accepted=(*books.accepted, reused),
        topic=(*books.topic, second),
        model=(*books.model, ModelCall(OTHER, COST)),
    )
    assert broken_in(both) == set()
    torn = replace(both, clickhouse=(*both.clickhouse[:2], replace(both.clickhouse[2], status="failed")))
    assert "A" in broken_in(torn)


def test_recovery_is_counted_from_the_death_to_the_first_orphan_answered() -> None:
    load = Load("", "a", LoadShape(), seed=1)
    asked = [Accepted(load.question(1), "llm.requests", partition, 0, at=100.0) for partition in (0, 0, 1)]
    times = (109.0, 107.5, 101.0)
    ends = [Entry(one.id, "completed", "model", COST, at=at) for one, at in zip(asked, times, strict=True)]
    assert recovery_seconds([("worker-1", 101.5, {("llm.requests", 0)})], asked, ends) == 6.0
    assert recovery_seconds([("worker-1", 200.0, {("llm.requests", 0)})], asked, ends) is None


def test_an_offset_is_early_when_it_was_seen_past_a_request_that_had_no_end_yet() -> None:
    load = Load("", "a", LoadShape(), seed=1)
    in_time, late, behind = (Accepted(load.question(n), "t", 0, offset=n, at=0) for n in range(3))
    looks = [(10.0, {("t", 0): 0}), (20.0, {("t", 0): 2}), (30.0, {("t", 0): 2})]
    assert committed_early(looks, [in_time, late, behind], {in_time.id: 19.9, late.id: 20.5}) == [late.id]
