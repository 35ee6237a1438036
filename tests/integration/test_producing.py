import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer, TopicPartition

from ops.topics import apply_topics
from producers import AsyncRequestProducer, InvalidRequestError, PublishError, RequestProducer
from producers.kafka_publisher import KafkaPublisher
from producers.memory_publisher import MemoryPublisher
from producers.publisher import PublisherClosedError
from producers.uuid7 import uuid7
from schemas.codec import decode_request
from schemas.record import OutgoingRecord, Record
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS, REQUESTS
from schemas.trace import new_traceparent, trace_id_of
from tests.answers_by_hand import turns
from tests.kafka_reading import end_offsets, read_from

NOBODY_LISTENS = "127.0.0.1:1"
SMALL_QUEUE: dict[str, Any] = {"queue.buffering.max.messages": 50, "linger.ms": 0}
SLOW: dict[str, Any] = {"linger.ms": 200}


@pytest.fixture(scope="module")
def broker(kafka: str) -> str:
    apply_topics(kafka)
    return kafka


@pytest.fixture
def before(broker: str) -> list[TopicPartition]:
    return end_offsets(broker, REQUESTS)


def a_request(prompt: str = "Hello") -> PromptRequest:
    return PromptRequest.model_validate(
        {"request_id": uuid7(), "tenant": "acme", "messages": [{"role": "user", "content": prompt}]}
    )


def as_read(record: OutgoingRecord) -> Record:
    return Record(record.topic, 0, 0, record.key, record.value, record.headers, 1)


def test_a_submitted_request_is_in_the_topic_when_the_producer_is_closed(
    broker: str, before: list[TopicPartition]
) -> None:
    with RequestProducer(broker) as producer:
        request_id = producer.submit(tenant="acme", prompt="Hello", labels={"site": "b1"})
    (record,) = read_from(broker, before)
    request = decode_request(as_read(record))
    assert (request.request_id, request.tenant, request.labels) == (request_id, "acme", {"site": "b1"})
    assert request_id.version == 7
    assert trace_id_of(as_read(record).header("traceparent"))


def test_a_given_trace_goes_on(broker: str, before: list[TopicPartition]) -> None:
    trace = new_traceparent()
    with RequestProducer(broker) as producer:
        producer.submit(a_request(), traceparent=trace, wait=True)
        (record,) = read_from(broker, before)
    assert as_read(record).header("traceparent") == trace


async def test_the_asyncio_producer_returns_when_the_request_is_readable(
    broker: str, before: list[TopicPartition]
) -> None:
    async with AsyncRequestProducer(broker) as producer:
        ids = await asyncio.gather(*(producer.submit(a_request(str(number))) for number in range(20)))
        assert {decode_request(as_read(record)).request_id for record in read_from(broker, before)} == set(ids)


async def test_many_are_published_from_an_iterable_with_progress(broker: str) -> None:
    before = end_offsets(broker, BULK_REQUESTS)
    progress: list[int] = []

    def requests() -> Iterator[dict[str, object]]:
        for number in range(1200):
            yield {"tenant": "acme", "prompt": f"number {number}"}

    with RequestProducer(broker, lane="bulk") as producer:
        ids = producer.submit_many(requests(), on_progress=progress.append)
    async with AsyncRequestProducer(broker) as other:
        ids += await other.submit_many(requests(), lane="bulk", on_progress=progress.append)
    assert progress == [500, 1000, 1200, 500, 1000, 1200]
    found = [UUID(as_read(record).header("ce_id") or "") for record in read_from(broker, before)]
    assert sorted(found) == sorted(ids)


def test_more_than_the_queue_holds_waits_instead_of_failing(broker: str) -> None:
    with RequestProducer(broker, lane="bulk", **SMALL_QUEUE) as producer:
        assert len(producer.submit_many(a_request(str(number)) for number in range(500))) == 500


async def test_more_than_the_queue_holds_waits_on_the_event_loop_too(broker: str) -> None:
    publisher = KafkaPublisher(broker, **SMALL_QUEUE)
    producer = AsyncRequestProducer(publisher, lane="bulk")
    assert len(await producer.submit_many(a_request(str(number)) for number in range(500))) == 500
    await publisher.close()


def test_a_broker_that_is_away_is_told_at_flush_with_the_requests() -> None:
    producer = RequestProducer(NOBODY_LISTENS, delivery_timeout_seconds=1)
    request_id = producer.submit(a_request())
    with pytest.raises(PublishError, match=rf"1 of 1 records.*{REQUESTS}.*timed out") as refused:
        producer.flush()
    assert str(request_id).encode() in (refused.value.refusals[0].record.value or b"")
    producer.submit(a_request())
    with pytest.raises(PublishError):
        producer.close()
    with pytest.raises(PublisherClosedError):
        producer.submit(a_request())


async def test_a_broker_that_is_away_is_told_to_the_one_who_awaits_within_the_delivery_timeout() -> None:
    producer = AsyncRequestProducer(NOBODY_LISTENS, delivery_timeout_seconds=1)
    began = time.monotonic()
    with pytest.raises(PublishError, match="timed out"):
        await producer.submit(a_request())
    assert time.monotonic() - began < 5
    await producer.close()


async def test_closing_does_not_wait_for_the_delivery_timeout_of_what_nobody_awaits_any_more() -> None:
    producer = AsyncRequestProducer(NOBODY_LISTENS, delivery_timeout_seconds=60)
    submitting = asyncio.ensure_future(producer.submit(a_request()))
    await turns()
    submitting.cancel()
    await asyncio.wait([submitting])
    began = time.monotonic()
    await producer.close()
    assert time.monotonic() - began < 30


async def test_a_cancelled_submit_does_not_disturb_the_next(broker: str, before: list[TopicPartition]) -> None:
    async with AsyncRequestProducer(broker, **SLOW) as producer:
        cancelled = asyncio.ensure_future(producer.submit(a_request("one")))
        await asyncio.sleep(0)
        cancelled.cancel()
        await producer.submit(a_request("two"))
    assert len(read_from(broker, before)) == 2


async def test_a_producer_over_a_publisher_of_ours_leaves_it_open() -> None:
    publisher = MemoryPublisher()
    async with AsyncRequestProducer(publisher) as producer:
        await producer.submit(tenant="acme", prompt="Hello")
    await publisher.publish(publisher.records[:1])
    assert len(publisher.records) == 2


def test_fields_that_make_no_request_are_refused_without_repeating_them(broker: str) -> None:
    with RequestProducer(broker) as producer, pytest.raises(InvalidRequestError) as refused:
        producer.submit(tenant="acme", prompt="S3CRET", max_tokens=-5, system=["S3CRET"])
    assert "max_tokens" in str(refused.value)
    assert "S3CRET" not in str(refused.value)


def test_what_a_bare_producer_publishes_as_plain_json_is_a_request(broker: str, before: list[TopicPartition]) -> None:
    bare = Producer({"bootstrap.servers": broker})
    request = a_request()
    bare.produce(REQUESTS, request.model_dump_json(exclude={"accepted_at"}).encode())
    assert bare.flush(15) == 0
    (record,) = read_from(broker, before)
    assert decode_request(as_read(record)).request_id == request.request_id


def test_identical_requests_meet_on_one_partition(broker: str, before: list[TopicPartition]) -> None:
    with RequestProducer(broker) as producer:
        producer.submit_many(a_request("the same") for _ in range(20))
    after = end_offsets(broker, REQUESTS)
    assert [
        end.offset - start.offset for start, end in zip(before, after, strict=True) if end.offset > start.offset
    ] == [20]
