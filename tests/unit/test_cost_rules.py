"""The pure rules of money: numbers in few characters, what an estimate bounds, when spending looks wrong."""

import dataclasses
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cost.amounts import compact, dollars, duration
from ops.cost.check import ALERTS, Bounds, Hour, alerts, budget_alerts
from ops.cost.estimate import asked_in, estimate
from ops.cost.estimate_view import words_of
from ops.cost.recent import Calls, Recent
from producers.bulk import RejectedLine
from schemas.result import Usage
from tests.builders import MODEL, a_request, an_id

VARIABLES = {"device_name": "ams-01-acc-01", "requirements": "vlan 10"}


def a_price(model: str, usage: Usage) -> Decimal | None:
    """A dollar a token of input, ten a token of output."""
    return None if model == "odd" else Decimal(usage.input_tokens + 10 * usage.output_tokens)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100k"), (999_999, "999k"), (1_234_567, "1.23M"), (10**12 - 1, "999G")],
)
def test_counts_are_compact(count: int, shown: str) -> None:
    assert compact(count) == shown


@given(st.integers(0, 10**14), st.integers(0, 10**9))
def test_no_number_is_wider_than_its_column(count: int, milliseconds: int) -> None:
    assert len(compact(count)) <= 6
    assert len(dollars(Decimal(count))) <= 7
    assert len(duration(milliseconds)) <= 5


def test_an_unknown_amount_is_no_zero() -> None:
    assert (dollars(None), dollars(Decimal(0)), dollars(Decimal("0.00005"))) == ("?", "$0.0000", "$0.0000")


def test_what_repeats_is_one_call_and_what_wants_a_fresh_answer_is_one_each() -> None:
    lines = [
        a_request(request_id=an_id(number), cache={"mode": mode})
        for number, mode in enumerate(["use", "use", "refresh", "refresh", "bypass"])
    ]
    told = estimate(asked_in([*lines, RejectedLine(6, "")], MODEL), set(), Recent(), a_price)
    assert (told.lines, told.valid, told.distinct, told.calls, told.cached) == (6, 5, 4, 4, 0)


def test_what_an_earlier_run_published_is_left_out() -> None:
    lines = [a_request(request_id=an_id(number), max_tokens=number) for number in range(1, 5)]
    assert estimate(asked_in(lines, MODEL, skip=3), None, Recent(), a_price).lines == 1


def test_a_cached_answer_costs_nothing_expected_and_something_at_most() -> None:
    asked = asked_in([a_request()], MODEL)
    told = estimate(asked, set(asked.shared), Recent(), a_price)
    assert (told.cached, told.calls, told.expected_usd) == (1, 0, Decimal(0))
    assert told.at_most_usd > 10 * 1024


def test_recent_calls_for_the_template_tell_tokens_and_never_more_than_may_be() -> None:
    recent = Recent((Calls(f"{MODEL}-20261001", "network-config@1", 5, 300.0, 200.0),), calls_per_second=0.5)
    asked = asked_in([a_request(template="network-config@1", variables=VARIABLES, max_tokens=150)], MODEL)
    told = estimate(asked, None, recent, a_price)
    assert (told.input_tokens, told.output_tokens, told.guessed_calls, told.seconds) == (300, 150, 0, 2)
    few = dataclasses.replace(recent, calls=(dataclasses.replace(recent.calls[0], calls=4),))
    assert estimate(asked, None, few, a_price).guessed_calls == 1


def test_the_characters_of_a_token_are_learnt_from_answers_that_were_kept() -> None:
    asked = asked_in([a_request(messages=[{"role": "user", "content": "x" * 7000}])], MODEL)
    learnt = Recent((Calls(MODEL, "", 1, 0, 0, kept_characters=200, kept_tokens=100),))
    by_default, by_answers = (estimate(asked, None, each, a_price).input_tokens for each in (Recent(), learnt))
    assert by_default == pytest.approx(2000, rel=0.02)
    assert by_answers == pytest.approx(3500, rel=0.02)


def test_a_price_nobody_knows_is_told_and_never_free() -> None:
    lines = [a_request(model="odd"), a_request(request_id=UUID(int=1))]
    told = estimate(asked_in(lines, MODEL), None, Recent(), a_price)
    assert (told.unpriced_calls, told.unpriced_models) == (1, {"odd"})
    assert "expected cost       unknown, $" in words_of(told)
    assert max(len(line) for line in words_of(told).splitlines()) <= 80


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"spend_usd": Decimal("3.01")}, ["spend_spike"]),
        ({"spend_usd": Decimal(99), "usual_usd": None}, []),
        ({"spend_usd": Decimal("0.2"), "usual_usd": Decimal("0.01")}, []),
        ({"hits": 29}, ["hit_share_drop"]),
        ({"answers": 5, "hits": 0}, []),
        ({"unpriced": 1}, ["unknown_price"]),
    ],
)
def test_an_alert_holds_beyond_its_bound_and_not_on_it(change: dict[str, Any], names: list[str]) -> None:
    hour = dataclasses.replace(Hour(Decimal(3), Decimal(1), answers=100, hits=30, unpriced=0), **change)
    bounds = Bounds(Decimal(3), 0.3, min_spend_usd=Decimal(1))
    assert [alert.name for alert in alerts(hour, bounds)] == names


@pytest.mark.parametrize(
    ("soft", "hard", "names"),
    [(0, 0, []), (2, 0, ["soft_budget"]), (2, 1, ["soft_budget", "hard_budget"])],
)
def test_budgets_over_a_limit_are_told_with_what_lists_them(soft: int, hard: int, names: list[str]) -> None:
    found = budget_alerts(soft, hard)
    assert [alert.name for alert in found] == names
    assert set(names) <= set(ALERTS)
    assert all("headrace budget list --over" in alert.message for alert in found)
