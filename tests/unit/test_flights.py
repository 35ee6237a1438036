"""Single flight: identical questions at one time make one call."""

import asyncio

import pytest

from streams.flights import SingleFlight
from tests.answers_by_hand import turns


class Flight:
    """Counts its starts; lands when the test says so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.starts = 0
        self.land = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.starts += 1
        number = self.starts
        await self.land.wait()
        if self._error is not None:
            raise self._error
        return number


async def test_those_who_ask_at_one_time_share_one_flight_and_one_of_them_leads() -> None:
    flights, flight = SingleFlight[str, int](), Flight()
    asked = asyncio.gather(*(flights.fly("k", flight) for _ in range(5)))
    await turns()
    flight.land.set()
    assert sorted(await asked) == [(1, False)] * 4 + [(1, True)]
    assert flight.starts == 1


async def test_other_keys_fly_for_themselves() -> None:
    flights, flight = SingleFlight[str, int](), Flight()
    flight.land.set()
    assert sorted(await asyncio.gather(flights.fly("a", flight), flights.fly("b", flight))) == [(1, True), (2, True)]


async def test_after_landing_the_next_flies_anew() -> None:
    flights, flight = SingleFlight[str, int](), Flight()
    flight.land.set()
    assert await flights.fly("k", flight) == (1, True)
    await turns()
    assert await flights.fly("k", flight) == (2, True)


async def test_a_failed_flight_fails_for_all_and_is_not_kept() -> None:
    flights, flight = SingleFlight[str, int](), Flight(LookupError("no"))
    asked = asyncio.gather(*(flights.fly("k", flight) for _ in range(3)), return_exceptions=True)
    await turns()
    flight.land.set()
    assert [type(outcome) for outcome in await asked] == [LookupError] * 3
    with pytest.raises(LookupError):
        await flights.fly("k", flight)
    assert flight.starts == 2


async def test_a_leader_that_is_cancelled_leaves_it_to_the_others_to_fly_and_one_of_them_does() -> None:
    flights, flight = SingleFlight[str, int](), Flight()
    leader = asyncio.create_task(flights.fly("k", flight))
    await turns()
    followers = asyncio.gather(*(flights.fly("k", flight) for _ in range(3)))
    await turns()
    leader.cancel()
    await asyncio.wait([leader])
    await turns()
    flight.land.set()
    assert sorted(await asyncio.wait_for(followers, 5)) == [(2, False), (2, False), (2, True)]
    assert leader.cancelled()


async def test_a_follower_waits_only_as_long_as_its_patience_and_the_flight_goes_on() -> None:
    flights, flight = SingleFlight[str, int](), Flight()
    leader = asyncio.create_task(flights.fly("k", flight, patience_seconds=0.001))
    await turns()
    for patience_seconds in (0.01, 0.0, -1.0):
        with pytest.raises(TimeoutError):
            await flights.fly("k", flight, patience_seconds)
    flight.land.set()
    assert await asyncio.wait_for(leader, 5) == (1, True)
    assert flight.starts == 1
