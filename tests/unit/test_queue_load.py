"""Whether there is room for more."""

from hypothesis import given
from hypothesis import strategies as st

from streams.gateway.queue_load import Backlog, Limits, QueueLoad
from tests.gateway_parts import Clock

LIMITS = Limits(waiting=1000, tenant_share=0.5)


def a_load(waiting: int = 0, done: int = 0) -> tuple[QueueLoad, Clock]:
    clock = Clock()
    load = QueueLoad(LIMITS, clock)
    load.note_backlogs({"interactive": Backlog(waiting, done), "bulk": Backlog(0, 0)})
    return load, clock


def code_of(load: QueueLoad, tenant: str = "acme") -> str | None:
    overload = load.overload(tenant, "interactive")
    return None if overload is None else overload.code


def test_nothing_is_taken_in_before_the_broker_was_seen() -> None:
    assert code_of(QueueLoad(LIMITS, Clock())) == "broker_away"


def test_a_broker_that_is_silent_is_away_until_it_is_seen_again() -> None:
    load, _ = a_load()
    assert code_of(load) is None
    load.note_broker_silent()
    assert code_of(load) == "broker_away"
    load.note_backlogs({"interactive": Backlog(0, 0)})
    assert code_of(load) is None


def test_a_lane_is_full_at_its_limit_and_the_other_is_not() -> None:
    load, _ = a_load(waiting=1000)
    assert code_of(load) == "backlog"
    assert load.overload("acme", "bulk") is None


def test_what_came_in_since_the_broker_was_asked_counts_too() -> None:
    load, _ = a_load(waiting=999)
    load.note_tenants({("globex", "interactive"): 999})
    assert code_of(load) is None
    load.note_accepted("acme", "interactive", 1)
    assert code_of(load) == "backlog"


def test_a_tenant_over_its_share_waits_while_others_go_on() -> None:
    load, _ = a_load(waiting=600)
    load.note_tenants({("acme", "interactive"): 550, ("globex", "interactive"): 50})
    assert code_of(load, "acme") == "tenant_backlog"
    assert code_of(load, "globex") is None


def test_a_share_is_of_one_lane() -> None:
    load, _ = a_load(waiting=600)
    load.note_tenants({("acme", "bulk"): 550})
    assert code_of(load, "acme") is None


def test_what_a_tenant_sent_long_ago_is_not_held_against_it() -> None:
    load, _ = a_load()
    load.note_accepted("acme", "interactive", 900)
    load.note_backlogs({"interactive": Backlog(0, 900)})
    load.note_accepted("globex", "interactive", 600)
    assert code_of(load, "acme") is None


def test_callers_come_again_when_the_queue_has_drained_to_nine_tenths() -> None:
    load, clock = a_load(waiting=2000, done=0)
    clock.seconds = 1.0
    load.note_backlogs({"interactive": Backlog(1900, 100)})
    overload = load.overload("acme", "interactive")
    assert overload is not None
    assert overload.retry_after_seconds == (1900 - 900) / 100


def test_without_a_known_rate_callers_come_again_in_a_while() -> None:
    load, _ = a_load(waiting=5000)
    overload = load.overload("acme", "interactive")
    assert overload is not None
    assert overload.retry_after_seconds == 10


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.floats(0, 100)), min_size=1))
def test_whatever_is_seen_callers_come_again_within_a_minute(seen: list[tuple[int, int, float]]) -> None:
    load, clock = a_load()
    for waiting, done, seconds in seen:
        clock.seconds += seconds
        load.note_backlogs({"interactive": Backlog(waiting, done)})
        overload = load.overload("acme", "interactive")
        # The share is of what others hold as well: nothing is known of tenants here.
        assert (overload is not None) == (waiting >= LIMITS.waiting)
        assert overload is None or 1 <= overload.retry_after_seconds <= 60
