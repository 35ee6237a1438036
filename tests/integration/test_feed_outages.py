"""The feed's reader goes on through an outage of the broker, and sees partitions that are added later."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from ops.local.kafka import kafka_server
from ops.topics import apply_topics
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent
from streams.feed.kafka_reader import KafkaResultsReader
from streams.feed.ring import Ring
from tests.answers_by_hand import until
from tests.pipeline import RunningServer
from tests.sinks import a_result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("feed")
    server = RunningServer(kafka_server(folder / "kafka"), folder / "kafka.log")
    server.start()
    apply_topics(server.endpoint, 1)
    yield server
    server.stop()


@asynccontextmanager
async def followed(kafka: str) -> AsyncIterator[list[ResultEvent]]:
    events: list[ResultEvent] = []
    ring = Ring()
    reader = KafkaResultsReader(kafka, ring.begin, lambda came: events.extend(each for each in came if ring.add(each)))
    reader.start()
    assert await reader.await_ready(60)
    try:
        yield events
    finally:
        await reader.close()


def publish(kafka: str, count: int, partition: int | None = None) -> list[str]:
    producer = Producer({"bootstrap.servers": kafka, "acks": "all"})
    ids = [uuid7() for _ in range(count)]
    for request_id in ids:
        record = encode_result(a_result(request_id))
        place = -1 if partition is None else partition
        producer.produce(record.topic, record.value, record.key, place, headers=list(record.headers))
    assert producer.flush(60) == 0
    return [str(request_id) for request_id in ids]


async def seen(events: list[ResultEvent], ids: list[str]) -> None:
    await until(lambda: set(ids) <= {event.request_id for event in events}, 90)


async def test_what_is_published_before_and_after_an_outage_comes_once(broker: RunningServer) -> None:
    async with followed(broker.endpoint) as events:
        ids = await asyncio.to_thread(publish, broker.endpoint, 20)
        await seen(events, ids)
        broker.stop()
        broker.start()
        ids += await asyncio.to_thread(publish, broker.endpoint, 20)
        await seen(events, ids)
        assert sorted(event.request_id for event in events) == sorted(ids)


async def test_a_partition_that_is_added_is_read_from_its_beginning(broker: RunningServer) -> None:
    async with followed(broker.endpoint) as events:
        admin = AdminClient({"bootstrap.servers": broker.endpoint})
        admin.create_partitions([NewPartitions(RESULTS, 14)])[RESULTS].result(30)
        ids = await asyncio.to_thread(publish, broker.endpoint, 3, 13)
        await seen(events, ids)


async def test_a_broker_that_is_not_there_at_the_start_is_waited_for(broker: RunningServer) -> None:
    broker.stop()
    events: list[ResultEvent] = []
    reader = KafkaResultsReader(broker.endpoint, Ring().begin, events.extend)
    reader.start()
    assert not await reader.await_ready(0.5)
    broker.start()
    assert await reader.await_ready(90)
    await seen(events, await asyncio.to_thread(publish, broker.endpoint, 2))
    await reader.close()
