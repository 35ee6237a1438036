"""A stream of results that is cut anywhere goes on without loss and without repetition, at any copy of the gateway."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.gateway.feed import FeedUnavailableError, InvalidPositionError, PositionGoneError, Wanted
from producers.uuid7 import uuid7
from streams.feed.events import ResultEvent
from streams.feed.feed import LiveFeed
from streams.feed.hub import Hub
from streams.feed.memory_past import MemoryPast
from streams.feed.positions import EventIds, Position, furthest, reaches
from streams.feed.ring import Ring
from tests.feeds import Seen, an_event, frames_in, ids_in

IDS = EventIds(b"a secret of sixteen bytes")
ALL = Wanted()
OFFSETS = st.lists(st.integers(0, 2**62), max_size=20).map(tuple)


@dataclass
class Copy:
    """One copy of the gateway over a shared topic; what it has not `read` yet it does not know."""

    past: MemoryPast
    ring_events: int = 3
    most_queued: int = 1000
    read: int = 0
    hub: Hub = field(init=False)
    feed: LiveFeed = field(init=False)

    def __post_init__(self) -> None:
        self.hub = Hub(Ring(self.ring_events), IDS, self.most_queued)
        self.hub.ring.begin(self.past.end)
        self.read = len(self.past._events)
        self.feed = LiveFeed(self.hub, IDS, self.past)

    def catch_up(self, at_most: int = 1_000_000) -> None:
        fresh = self.past._events[self.read : self.read + at_most]
        self.read += len(fresh)
        self.hub.take(fresh)

    def reopened(self) -> None:
        """Its streams were closed; new ones begin over the same ring."""
        ring = self.hub.ring
        self.hub = Hub(ring, IDS, self.most_queued)
        self.feed = LiveFeed(self.hub, IDS, self.past)


async def drained(copy: Copy, stream: AsyncIterator[bytes]) -> list[Seen]:
    """What a stream still sends when its copy goes down."""
    frames: list[Seen] = []
    while True:
        following = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        if not following.done():
            copy.hub.close()
        if (piece := await following) is None:
            return frames
        frames += frames_in(piece)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("read"), st.integers(0, 1), st.integers(0, 4)),
        st.tuples(st.just("cut"), st.integers(0, 1), st.integers(0, 6)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(1, 5))
def test_a_stream_that_is_cut_anywhere_has_every_result_once(
    steps: list[tuple[str, int, int]], ring_events: int, piece_events: int
) -> None:
    asyncio.run(_cut_and_go_on(steps, ring_events, piece_events))


async def _cut_and_go_on(steps: list[tuple[str, int, int]], ring_events: int, piece_events: int) -> None:
    past = MemoryPast(3, at_most=piece_events)
    copies = [Copy(past, ring_events), Copy(past, ring_events)]
    offsets = [itertools.count() for _ in range(3)]
    expected: list[str] = []
    received: list[str] = []
    last_id = IDS.encode("meridian", past.end)
    for kind, one, other in [*steps, ("read", 0, 1000), ("cut", 0, 1000)]:
        if kind == "publish":
            event = an_event(one, next(offsets[one]), "meridian" if other else "neighbour")
            past.add([event])
            expected += [event.request_id] if other else []
        elif kind == "read":
            copies[one].catch_up(other)
        else:
            copy = copies[one]
            stream = await copy.feed.subscribe("meridian", ALL, last_id)
            frames = frames_in(await anext(stream))
            copy.catch_up(2)  # some come while it joins
            frames += await drained(copy, stream)
            kept = frames[: other + 1]  # the connection breaks here
            received += ids_in(kept)
            last_id = [each.id for each in kept if each.id is not None][-1]
            copy.reopened()
    assert sorted(received) == sorted(expected)
    assert len(set(received)) == len(received)


async def test_a_stream_that_begins_now_sees_what_comes_and_nothing_before() -> None:
    copy = Copy(MemoryPast(2))
    copy.hub.take([an_event(0, 0)])
    stream = await copy.feed.subscribe("meridian", ALL, None)
    await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    event = an_event(1, 0)
    copy.hub.take([event, an_event(1, 1, "neighbour")])
    assert ids_in(frames_in(await following)) == [event.request_id]


async def test_what_is_sent_is_the_published_result_and_its_filter_chooses() -> None:
    copy = Copy(MemoryPast(1))
    wanted = Wanted(labels=(("site", "osl"),), user_id="u-1", status="completed")
    stream = await copy.feed.subscribe("meridian", wanted, None)
    await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    others = [
        an_event(0, 0, labels={"site": "ams"}, user_id="u-1"),
        an_event(0, 1, labels={"site": "osl"}, user_id="u-2"),
        an_event(0, 2, labels={"site": "osl"}, user_id="u-1", status="failed"),
    ]
    ours = an_event(0, 3, labels={"site": "osl", "rack": "7"}, user_id="u-1")
    copy.hub.take([*others, ours])
    (frame,) = frames_in(await following)
    assert frame.data["request_id"] == ours.request_id
    assert frame.data["labels"] == {"site": "osl", "rack": "7"}


async def test_a_stream_that_is_too_slow_ends_and_loses_nothing() -> None:
    past = MemoryPast(1)
    copy = Copy(past, ring_events=100, most_queued=5)
    stream = await copy.feed.subscribe("meridian", ALL, None)
    frames = frames_in(await anext(stream))
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    events = [an_event(0, number) for number in range(20)]
    past.add(events)
    copy.catch_up()
    frames += frames_in(await following)
    frames += [each async for piece in stream for each in frames_in(piece)]
    assert frames[-1].event == "resume"
    assert len(copy.hub) == 0
    last_id = [each.id for each in frames if each.id is not None][-1]
    again = await copy.feed.subscribe("meridian", ALL, last_id)
    frames += await drained(copy, again)
    assert ids_in(frames) == [event.request_id for event in events]


async def test_a_record_that_claims_another_tenant_in_its_headers_is_shown_to_nobody() -> None:
    copy = Copy(MemoryPast(1))
    event = an_event(0, 0, "neighbour")
    forged = ResultEvent(event.record._replace(headers=(("ce_subject", b"meridian"), ("ce_id", b"x"))))
    stream = await copy.feed.subscribe("meridian", ALL, None)
    await anext(stream)
    copy.hub.take([forged])
    assert ids_in(await drained(copy, stream)) == []


async def test_whoever_waits_gets_the_result_also_when_it_came_first() -> None:
    copy, request_id = Copy(MemoryPast(1)), uuid7()
    with copy.feed.expecting("meridian", request_id) as expected:
        copy.hub.take([an_event(0, 0, "neighbour", request_id), an_event(0, 1, "meridian", request_id)])
        result = await expected.result(5)
        assert result is not None
        assert (result.tenant, result.request_id) == ("meridian", request_id)
    with copy.feed.expecting("meridian", uuid7()) as expected:
        assert await expected.result(0.01) is None


async def test_a_feed_that_has_not_begun_refuses_and_so_does_a_full_one() -> None:
    copy = Copy(MemoryPast(1))
    unready = LiveFeed(Hub(Ring(), IDS), IDS, copy.past)
    with pytest.raises(FeedUnavailableError):
        await unready.subscribe("meridian", ALL, None)
    full = LiveFeed(copy.hub, IDS, copy.past, most_subscribers=1)
    stream = await full.subscribe("meridian", ALL, None)
    await anext(stream)
    with pytest.raises(FeedUnavailableError):
        await full.subscribe("meridian", ALL, None)
    await stream.aclose()  # type: ignore[attr-defined]
    await full.subscribe("meridian", ALL, None)


async def test_a_position_that_kafka_no_longer_holds_is_told_and_one_that_never_was_is_refused() -> None:
    past = MemoryPast(1)
    past.first = past.end = [10]
    copy = Copy(past)
    with pytest.raises(PositionGoneError):
        await copy.feed.subscribe("meridian", ALL, IDS.encode("meridian", (3,)))
    with pytest.raises(InvalidPositionError):
        await copy.feed.subscribe("meridian", ALL, IDS.encode("meridian", (11,)))


@given(OFFSETS)
def test_an_event_id_is_read_as_it_was_written(position: Position) -> None:
    assert IDS.decode("meridian", IDS.encode("meridian", position)) == position


@given(OFFSETS, st.data())
def test_an_event_id_that_was_changed_is_refused(position: Position, data: st.DataObject) -> None:
    written = IDS.encode("meridian", position)
    at, sign = data.draw(st.integers(0, len(written) - 2)), data.draw(st.sampled_from("Aa0_-"))
    changed = written[:at] + sign + written[at + 1 :]
    if changed != written:
        with pytest.raises(InvalidPositionError):
            IDS.decode("meridian", changed)


@pytest.mark.parametrize("forged", ["", "A", "é", "a b", "=" * 8, "A" * 20_000, "AQ", str(UUID(int=0))])
def test_what_is_no_event_id_is_refused(forged: str) -> None:
    with pytest.raises(InvalidPositionError):
        IDS.decode("meridian", forged)


def test_another_tenants_event_id_is_refused() -> None:
    with pytest.raises(InvalidPositionError):
        IDS.decode("neighbour", IDS.encode("meridian", (1, 2)))


@given(OFFSETS, OFFSETS)
def test_the_furthest_of_two_positions_reaches_both(one: Position, other: Position) -> None:
    assert reaches(furthest(one, other), one)
    assert reaches(furthest(one, other), other)


def _events() -> Iterator[ResultEvent]:
    for offset in itertools.count():
        yield an_event(0, offset)


def test_the_ring_is_bounded_in_number_and_in_bytes() -> None:
    events = list(itertools.islice(_events(), 50))
    by_number, by_bytes = Ring(most_events=10), Ring(most_bytes=5 * events[0].size_bytes)
    for event in events:
        by_number.add(event)
        by_bytes.add(event)
    assert (len(by_number.behind("meridian", ())), by_number.floor) == (10, (40,))
    assert len(by_bytes.behind("meridian", ())) <= 5
    assert not by_number.add(events[3])
    assert not by_number.covers((39,))
    assert by_number.covers((40,))
