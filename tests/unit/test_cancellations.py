"""A cancellation counts for its tenant, for a day, and is told once."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from schemas.control import CancelRequest
from streams.control.cancellations import Cancellations
from tests.unit.events import A_TIME, AN_ID


class Clock:
    def __init__(self) -> None:
        self.now = A_TIME

    def __call__(self) -> datetime:
        return self.now


def a_cancel(request_id: UUID = AN_ID, tenant: str = "meridian", at: datetime = A_TIME) -> CancelRequest:
    return CancelRequest(request_id=request_id, tenant=tenant, by="an operator", at=at)


def test_another_tenants_cancel_does_nothing() -> None:
    cancellations = Cancellations(Clock())
    cancellations.note(a_cancel(tenant="intruder"))
    assert not cancellations.is_cancelled("meridian", AN_ID)
    assert cancellations.is_cancelled("intruder", AN_ID)


def test_it_counts_for_a_day() -> None:
    clock = Clock()
    cancellations = Cancellations(clock)
    cancellations.note(a_cancel())
    clock.now = A_TIME + timedelta(hours=23, minutes=59)
    assert cancellations.is_cancelled("meridian", AN_ID)
    clock.now = A_TIME + timedelta(hours=24)
    assert not cancellations.is_cancelled("meridian", AN_ID)


def test_one_that_is_over_a_day_old_was_never_there() -> None:
    told: list[UUID] = []
    cancellations = Cancellations(Clock())
    cancellations.on_cancel(lambda _, request_id: told.append(request_id))
    cancellations.note(a_cancel(at=A_TIME - timedelta(days=1)))
    assert (len(cancellations), told) == (0, [])


def test_a_clock_that_runs_ahead_makes_it_last_no_longer() -> None:
    clock = Clock()
    cancellations = Cancellations(clock)
    cancellations.note(a_cancel(at=A_TIME + timedelta(days=300)))
    clock.now = A_TIME + timedelta(hours=24)
    assert not cancellations.is_cancelled("meridian", AN_ID)


def test_it_is_told_once_however_often_it_is_repeated() -> None:
    told: list[tuple[str, UUID]] = []
    cancellations = Cancellations(Clock())
    cancellations.on_cancel(lambda tenant, request_id: told.append((tenant, request_id)))
    for _ in range(3):
        cancellations.note(a_cancel())
    assert told == [("meridian", AN_ID)]


def test_memory_is_bounded_and_the_newest_are_kept() -> None:
    cancellations = Cancellations(Clock(), at_most=10)
    ids = [uuid4() for _ in range(25)]
    for request_id in ids:
        cancellations.note(a_cancel(request_id))
    assert len(cancellations) == 10
    assert [each for each in ids if cancellations.is_cancelled("meridian", each)] == ids[-10:]


def test_what_has_expired_makes_room_by_itself() -> None:
    clock = Clock()
    cancellations = Cancellations(clock)
    cancellations.note(a_cancel(uuid4()))
    clock.now += timedelta(days=2)
    cancellations.note(a_cancel(uuid4(), at=clock.now))
    assert len(cancellations) == 1


def a_range(first: int, last: int, tenant: str = "meridian", at: datetime = A_TIME) -> CancelRequest:
    return CancelRequest(request_id=UUID(int=first), through=UUID(int=last), tenant=tenant, by="an operator", at=at)


def test_a_range_cancels_its_tenants_ids_from_the_first_through_the_last() -> None:
    cancellations = Cancellations(Clock())
    cancellations.note(a_range(10, 20))
    cancelled = [number for number in range(30) if cancellations.is_cancelled("meridian", UUID(int=number))]
    assert cancelled == list(range(10, 21))
    assert not cancellations.is_cancelled("intruder", UUID(int=15))


def test_a_range_counts_for_a_day_and_is_forgotten_with_the_next() -> None:
    clock = Clock()
    cancellations = Cancellations(clock)
    cancellations.note(a_range(10, 20))
    clock.now = A_TIME + timedelta(hours=24)
    assert not cancellations.is_cancelled("meridian", UUID(int=15))
    cancellations.note(a_range(30, 40, at=clock.now))
    assert len(cancellations) == 1
    assert cancellations.is_cancelled("meridian", UUID(int=35))


def test_a_range_does_not_hide_what_was_cancelled_alone() -> None:
    cancellations = Cancellations(Clock())
    cancellations.note(a_range(10, 20))
    cancellations.note(a_cancel())
    assert cancellations.is_cancelled("meridian", AN_ID)
