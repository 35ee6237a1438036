"""What every source of older results promises: one tenant's events between two positions, each once, in pieces."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from ops.topics import apply_topics
from producers.gateway.feed import FeedUnavailableError
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent
from streams.feed.kafka_past import KafkaPast
from streams.feed.memory_past import MemoryPast
from streams.feed.past import Past
from streams.feed.positions import Position
from tests.feeds import an_event
from tests.sinks import a_result

PARTITIONS = 12


@dataclass
class Shelf:
    """A past, and how records get into it: as (partition, tenant), their request ids returned."""

    past: Past
    put: Callable[[Sequence[tuple[int, str]]], list[str]]


def memory_shelf() -> Shelf:
    past = MemoryPast(PARTITIONS, at_most=3)

    def put(places: Sequence[tuple[int, str]]) -> list[str]:
        events = []
        for partition, tenant in places:
            events.append(an_event(partition, past.end[partition], tenant))
            past.add(events[-1:])
        return [event.request_id for event in events]

    return Shelf(past, put)


def kafka_shelf(kafka: str) -> Shelf:
    apply_topics(kafka, 1)
    producer = Producer({"bootstrap.servers": kafka})

    def put(places: Sequence[tuple[int, str]]) -> list[str]:
        records = [(partition, encode_result(a_result(uuid7(), tenant=tenant))) for partition, tenant in places]
        for partition, record in records:
            producer.produce(RESULTS, record.value, record.key, partition=partition, headers=list(record.headers))
        assert producer.flush(30) == 0
        return [(record.key or b"").decode() for _, record in records]

    return Shelf(KafkaPast(kafka), put)


@pytest.fixture(params=["memory", "kafka"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    return memory_shelf() if request.param == "memory" else kafka_shelf(request.getfixturevalue("kafka"))


async def read_all(past: Past, tenant: str, position: Position, until: Position) -> list[ResultEvent]:
    events: list[ResultEvent] = []
    async with asyncio.timeout(60):
        while position != until:
            piece = await past.read(tenant, position, until)
            assert piece.reached != position
            events += piece.events
            position = piece.reached
    return events


async def test_one_tenants_events_between_two_positions_come_once(shelf: Shelf) -> None:
    ours, other = f"t-{uuid4().hex[:12]}", f"t-{uuid4().hex[:12]}"
    shelf.put([(0, ours), (1, ours)])
    begin = (await shelf.past.held()).end
    expected = shelf.put([(number % 3, ours) for number in range(10)])
    shelf.put([(number % 3, other) for number in range(10)])
    end = (await shelf.past.held()).end
    shelf.put([(0, ours)])
    events = await read_all(shelf.past, ours, begin, end)
    assert sorted(event.request_id for event in events) == sorted(expected)
    for partition in range(3):
        offsets = [event.offset for event in events if event.partition == partition]
        assert offsets == sorted(offsets)


async def test_nothing_lies_between_a_position_and_itself(shelf: Shelf) -> None:
    end = (await shelf.past.held()).end
    assert len(end) == PARTITIONS
    assert (await shelf.past.read("meridian", end, end)).events == []


async def test_a_partition_that_a_position_does_not_know_is_read_from_its_beginning(shelf: Shelf) -> None:
    ours = f"t-{uuid4().hex[:12]}"
    begin = (await shelf.past.held()).end
    (request_id,) = shelf.put([(PARTITIONS - 1, ours)])
    end = (await shelf.past.held()).end
    events = await read_all(shelf.past, ours, begin[: PARTITIONS - 1], end)
    assert [event.request_id for event in events] == [request_id]


async def test_a_broker_that_is_away_is_told_as_such() -> None:
    with pytest.raises(FeedUnavailableError):
        async with asyncio.timeout(60):
            await KafkaPast("127.0.0.1:1").held()
