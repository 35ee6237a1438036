"""Three further attempts after one, two and four minutes, none past the request's own deadline."""

from datetime import timedelta

from streams.retries.policy import RetryPolicy
from tests.unit.events import A_TIME


def test_by_default_it_waits_one_two_and_four_minutes_then_gives_up() -> None:
    delays = [RetryPolicy().next_due(attempts, A_TIME) for attempts in (1, 2, 3, 4)]
    assert delays == [*(A_TIME + timedelta(minutes=minutes) for minutes in (1, 2, 4)), None]


def test_no_attempt_is_planned_at_or_past_the_deadline() -> None:
    policy = RetryPolicy.of_seconds(10)
    assert policy.next_due(1, A_TIME, A_TIME + timedelta(seconds=10)) is None
    assert policy.next_due(1, A_TIME, A_TIME + timedelta(seconds=11)) == A_TIME + timedelta(seconds=10)


def test_without_delays_nothing_is_retried() -> None:
    assert RetryPolicy(()).next_due(1, A_TIME) is None
    assert RetryPolicy().next_due(0, A_TIME) is None
