"""What every Publisher promises, asked of the one in memory and the one on Kafka."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from ops.topics import apply_topics
from producers.kafka_publisher import KafkaPublisher
from producers.memory_publisher import MemoryPublisher
from producers.publisher import Publisher, PublisherClosedError, PublishError
from schemas.record import OutgoingRecord
from schemas.topics import RESULTS, TOPICS
from tests.kafka_reading import end_offsets, read_from

# Random, so that no compression brings it under the bound.
OVERSIZE = os.urandom(next(topic.max_message_bytes for topic in TOPICS if topic.name == RESULTS) + 100_000)


@dataclass(frozen=True)
class Published:
    """A publisher under test and how to read what it has written since the test began."""

    publisher: Publisher
    written: Callable[[], list[OutgoingRecord]]


@pytest.fixture(params=["memory", "kafka"])
async def published(request: pytest.FixtureRequest) -> AsyncIterator[Published]:
    if request.param == "memory":
        memory = MemoryPublisher()
        yield Published(memory, lambda: memory.records)
        return
    bootstrap: str = request.getfixturevalue("kafka")
    apply_topics(bootstrap)
    before = end_offsets(bootstrap, RESULTS)
    publisher = KafkaPublisher(bootstrap, delivery_timeout_seconds=20)
    yield Published(publisher, lambda: read_from(bootstrap, before))
    await publisher.close()


def a_record(key: bytes = b"key", value: bytes = b"{}") -> OutgoingRecord:
    return OutgoingRecord(RESULTS, key, value, (("ce_id", b"1"), ("traceparent", b"00-a-b-01")))


async def test_confirmed_records_are_readable_with_key_value_and_headers(published: Published) -> None:
    records = [a_record(b"a", b"1"), a_record(b"b", b"2")]
    await published.publisher.publish(records)
    assert sorted(published.written(), key=lambda record: record.key or b"") == records


async def test_publishing_nothing_is_confirmed_at_once(published: Published) -> None:
    await published.publisher.publish([])
    assert published.written() == []


async def test_records_of_one_key_keep_their_order_across_calls(published: Published) -> None:
    for start in range(0, 100, 50):
        await published.publisher.publish([a_record(b"same", b"%d" % number) for number in range(start, start + 50)])
    assert [record.value for record in published.written()] == [b"%d" % number for number in range(100)]


async def test_an_oversize_record_is_named_while_the_others_arrive(published: Published) -> None:
    good = [a_record(b"same", b"1"), a_record(b"same", b"2")]
    oversize = a_record(b"same", OVERSIZE)
    with pytest.raises(PublishError, match=rf"1 of 3 records.*{RESULTS}.*(?i:size too large)") as refused:
        await published.publisher.publish([good[0], oversize, good[1]])
    assert [refusal.record for refusal in refused.value.refusals] == [oversize]
    await published.publisher.publish([a_record(b"same", b"3")])
    assert [record.value for record in published.written()] == [b"1", b"2", b"3"]


async def test_many_calls_at_once_are_each_confirmed(published: Published) -> None:
    calls = [published.publisher.publish([a_record(b"%d" % number)]) for number in range(300)]
    await asyncio.gather(*calls)
    assert len(published.written()) == 300


async def test_a_closed_publisher_refuses_and_closes_again_in_peace(published: Published) -> None:
    await published.publisher.close()
    with pytest.raises(PublisherClosedError, match="build a new one"):
        await published.publisher.publish([a_record()])
    await published.publisher.close()


async def test_close_waits_for_what_is_under_way(published: Published) -> None:
    call = asyncio.ensure_future(published.publisher.publish([a_record()]))
    await asyncio.sleep(0)
    await published.publisher.close()
    await call
    assert len(published.written()) == 1
