"""What keeps a worker from harm at the intake."""

import pytest

from schemas.dead_letter import DecodeError
from streams.admission.dead_letter_limit import DeadLetterLimit
from streams.admission.deaths import Place
from streams.admission.intake_guard import DeadLetterFloodError, IntakeGuard, NoCancelledIds
from tests.builders import a_record, an_id, some_work


class CancelledId:
    """One request of one tenant is cancelled."""

    def is_cancelled(self, tenant: str, request_id: object) -> bool:
        return (tenant, request_id) == ("meridian", an_id(1))


def guard(deaths: int = 0, condemned_after: int = 3, limit: DeadLetterLimit | None = None) -> IntakeGuard:
    """Knows of so many deaths at offset 7 of partition 0."""
    places = {Place.of(a_record(7)): deaths}
    return IntakeGuard(CancelledId(), limit or DeadLetterLimit(), places, condemned_after)


@pytest.mark.parametrize("deaths", [3, 4])
def test_a_record_that_workers_died_at_too_often_is_set_aside_with_its_reason(deaths: int) -> None:
    with pytest.raises(DecodeError) as caught:
        guard(deaths).check(a_record(7))
    assert caught.value.reason == "crash_loop"


@pytest.mark.parametrize("deaths", [0, 1, 2])
def test_a_record_that_workers_died_at_once_or_twice_is_tried_again(deaths: int) -> None:
    guard(deaths).check(a_record(7))


def test_its_neighbours_and_the_same_offset_elsewhere_are_let_in() -> None:
    for record in (a_record(6), a_record(8), a_record(7, partition=1)):
        guard(9).check(record)


def test_a_flood_of_unreadable_records_stops_the_worker_and_says_what_to_do() -> None:
    flooded = guard(limit=DeadLetterLimit(max_run=3))
    for _ in range(2):
        flooded.saw_unreadable()
    with pytest.raises(DeadLetterFloodError, match="headrace dead-letters list"):
        flooded.saw_unreadable()


def test_readable_records_between_them_keep_it_going() -> None:
    calm = guard(limit=DeadLetterLimit(max_run=3, min_records=1000))
    for _ in range(100):
        calm.saw_unreadable()
        calm.saw_unreadable()
        calm.saw_readable(1)


def test_a_cancellation_counts_for_its_tenant_alone() -> None:
    one = guard()
    ours = some_work()
    request = ours.request.model_copy(update={"request_id": an_id(1)})
    assert one.is_cancelled(ours._replace(request=request))
    assert not one.is_cancelled(ours._replace(request=request.model_copy(update={"tenant": "aurora"})))
    assert not one.is_cancelled(ours._replace(request=request.model_copy(update={"request_id": an_id(2)})))


def test_where_nobody_follows_cancellations_nothing_is_cancelled() -> None:
    assert not NoCancelledIds().is_cancelled("meridian", an_id(1))
