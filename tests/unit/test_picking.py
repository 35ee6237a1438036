"""Which endpoint is asked next: soonest by what is known, never one that rests, and each as its weight says."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.model.account_limits import AccountLimits, summed
from streams.model.picking import Standing, pick

shares = st.floats(0, 1)
standings = st.builds(
    Standing,
    latency_seconds=st.floats(0.05, 60),
    in_flight=st.integers(0, 2000),
    weight=st.floats(0.1, 10),
    remaining_share=shares,
    takes=st.booleans(),
)
LIMITS = {
    "anthropic-ratelimit-requests-limit": "600",
    "anthropic-ratelimit-requests-remaining": "10",
    "anthropic-ratelimit-input-tokens-limit": "1000000000",
    "anthropic-ratelimit-input-tokens-remaining": "1000000000",
}


@given(st.lists(standings, max_size=8))
def test_one_that_takes_calls_is_picked_wherever_there_is_one(given_: list[Standing]) -> None:
    place = pick(given_)
    assert (place is None) == (not any(each.takes for each in given_))
    assert place is None or given_[place].takes


@given(st.lists(standings, min_size=1, max_size=8), st.data())
def test_none_is_picked_that_another_beats_in_everything(given_: list[Standing], data: st.DataObject) -> None:
    worse = data.draw(st.sampled_from(given_))
    better = replace(worse, latency_seconds=worse.latency_seconds / 2, in_flight=worse.in_flight // 2, takes=True)
    field = [*given_, better]
    assert field[pick(field) or 0] != worse or better == worse or not worse.takes


@given(weights=st.lists(st.integers(1, 5), min_size=1, max_size=5), calls=st.integers(1, 200))
def test_calls_that_come_at_once_are_shared_by_weight(weights: list[int], calls: int) -> None:
    in_flight = Counter[int]()
    for _ in range(calls):
        place = pick([Standing(1.0, in_flight[place], float(weight)) for place, weight in enumerate(weights)])
        assert place is not None
        in_flight[place] += 1
    for place, weight in enumerate(weights):
        assert abs(in_flight[place] - calls * weight / sum(weights)) <= len(weights)


@given(st.lists(standings, min_size=1, max_size=8))
def test_a_limit_that_is_equally_used_everywhere_changes_nothing(given_: list[Standing]) -> None:
    full = [replace(each, remaining_share=1.0) for each in given_]
    scarce = [replace(each, remaining_share=0.015625) for each in given_]  # a power of two: no rounding
    assert pick(full) == pick(scarce)


def test_the_slower_is_asked_once_the_faster_has_enough_to_do() -> None:
    slow = Standing(5.0)
    assert pick([Standing(1.0, in_flight=3), slow]) == 0
    assert pick([Standing(1.0, in_flight=5), slow]) == 1


def test_one_whose_limit_is_used_up_is_asked_only_where_the_others_are_far_slower() -> None:
    used_up = Standing(1.0, remaining_share=0.0)
    assert pick([used_up, Standing(10.0)]) == 1
    assert pick([used_up, Standing(40.0)]) == 0


def test_one_that_was_never_asked_is_asked() -> None:
    assert pick([Standing(0.8), Standing(0.0)]) == 1


def test_what_is_left_of_a_limit_grows_back_until_it_is_full() -> None:
    account = AccountLimits()
    assert account.remaining_share("m", 0.0) == 1.0
    account.learn("m", LIMITS, 100.0)
    assert account.remaining_share("m", 100.0) == pytest.approx(10 / 600)
    assert account.remaining_share("m", 101.0) == pytest.approx(20 / 600)
    assert account.remaining_share("m", 1000.0) == 1.0
    assert account.remaining_share("another", 100.0) == 1.0


def test_accounts_together_have_the_sum_once_each_has_told_its_own() -> None:
    first, second = AccountLimits(), AccountLimits()
    first.learn("m", LIMITS, 0.0)
    assert summed([first, second], "m", 0.0) == {}
    second.learn("m", {**LIMITS, "anthropic-ratelimit-requests-limit": "60"}, 0.0)
    told = summed([first, second], "m", 0.0)
    assert told["anthropic-ratelimit-requests-limit"] == "660"
    assert told["anthropic-ratelimit-requests-remaining"] == "20"
    assert "anthropic-ratelimit-output-tokens-limit" not in told
    assert summed([], "m", 0.0) == {}


def test_headers_that_make_no_sense_are_not_learnt() -> None:
    account = AccountLimits()
    account.learn("m", {"anthropic-ratelimit-requests-limit": "0", "anthropic-ratelimit-requests-remaining": "0"}, 0.0)
    account.learn("m", {"anthropic-ratelimit-requests-limit": "many"}, 0.0)
    assert not account.knows("m")
