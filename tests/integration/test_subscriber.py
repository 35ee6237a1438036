import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from ops.topics import apply_topics
from producers.kafka_publisher import KafkaPublisher
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.record import OutgoingRecord
from schemas.result import Answer, PromptResult, Timing
from schemas.topics import RESULTS
from streams import AsyncResultSubscriber, ResultSubscriber
from streams.subscribe_start import Start

Publish = Callable[[list[OutgoingRecord]], None]


@pytest.fixture(scope="module")
def broker(kafka: str) -> str:
    apply_topics(kafka)
    return kafka


@pytest.fixture
def publish(broker: str) -> Publish:
    async def confirmed(records: list[OutgoingRecord]) -> None:
        publisher = KafkaPublisher(broker, delivery_timeout_seconds=20)
        await publisher.publish(records)
        await publisher.close()

    return lambda records: asyncio.run(confirmed(records))


def a_result(tenant: str = "acme") -> PromptResult:
    now = datetime.now(UTC)
    timing = Timing(accepted_at=now, started_at=now, completed_at=now)
    return PromptResult(
        request_id=uuid7(), tenant=tenant, status="completed", answer=Answer(text="hi"), source="model",
        cost_usd=Decimal("0.01"), timing=timing,
    )  # fmt: skip


def published(publish: Publish, count: int, tenant: str = "acme") -> list[UUID]:
    results = [a_result(tenant) for _ in range(count)]
    publish([encode_result(result) for result in results])
    return [result.request_id for result in results]


def taken(subscriber: ResultSubscriber, count: int) -> list[UUID]:
    ids: list[UUID] = []
    deadline = time.monotonic() + 20
    while len(ids) < count and time.monotonic() < deadline:
        if (result := subscriber.poll(1)) is not None:
            ids.append(result.request_id)
    return ids


@pytest.mark.parametrize("group", [None, "new"])
def test_from_now_misses_nothing_published_after_the_constructor(
    broker: str, publish: Publish, group: str | None
) -> None:
    published(publish, 5)
    name = group and f"{group}-{uuid4()}"
    with ResultSubscriber(broker, group=name) as subscriber:
        later = published(publish, 30)
        assert sorted(taken(subscriber, 30)) == sorted(later)
        assert subscriber.poll() is None


def test_from_earliest_sees_what_was_there(broker: str, publish: Publish) -> None:
    ids = published(publish, 3)
    with ResultSubscriber(broker, start="earliest") as subscriber:
        assert set(ids) <= {result.request_id for result in subscriber.results(timeout_seconds=1)}


def test_from_a_time_sees_what_came_since_and_nothing_older(broker: str, publish: Publish) -> None:
    older = published(publish, 20)
    time.sleep(0.05)  # the broker stamps whole milliseconds; this is the gap under test, not a wait for anything
    start: Start = datetime.now(UTC)
    newer = published(publish, 20)
    with ResultSubscriber(broker, start=start) as subscriber:
        found = taken(subscriber, 20)
    assert sorted(found) == sorted(newer)
    assert not set(found) & set(older)


def test_a_time_to_come_begins_with_the_next_result(broker: str, publish: Publish) -> None:
    with ResultSubscriber(broker, start=datetime(2100, 1, 1, tzinfo=UTC)) as subscriber:
        assert sorted(published(publish, 3)) == sorted(taken(subscriber, 3))


def test_a_time_without_a_zone_is_refused(broker: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        ResultSubscriber(broker, start=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake under test


def test_a_tenant_sees_its_own_results_alone(broker: str, publish: Publish) -> None:
    tenant = f"tenant-{uuid4()}"
    with ResultSubscriber(broker, tenant=tenant) as subscriber:
        published(publish, 5, "other")
        bare = a_result("other")
        publish([OutgoingRecord(RESULTS, None, bare.model_dump_json().encode())])
        mine = published(publish, 5, tenant)
        assert sorted(taken(subscriber, 5)) == sorted(mine)
        assert subscriber.poll(0.5) is None


def test_what_is_no_result_is_passed_over_and_counted(broker: str, publish: Publish) -> None:
    with ResultSubscriber(broker) as subscriber:
        publish([OutgoingRecord(RESULTS, b"k", b"{"), OutgoingRecord(RESULTS, b"k", None)])
        good = a_result()
        publish([OutgoingRecord(RESULTS, b"k", good.model_dump_json().encode())])
        assert taken(subscriber, 1) == [good.request_id]
        assert subscriber.skipped == 2


def test_a_group_goes_on_with_the_result_that_was_not_finished(broker: str, publish: Publish) -> None:
    group = f"group-{uuid4()}"
    with ResultSubscriber(broker, group=group) as first:
        ids = published(publish, 10)
        seen = taken(first, 4)
    published_while_away = published(publish, 2)
    with ResultSubscriber(broker, group=group) as second:
        rest = taken(second, 9)
    assert set(seen) | set(rest) == {*ids, *published_while_away}
    assert seen[3] in rest
    assert not set(seen[:3]) & set(rest)


def test_close_ends_an_iteration_in_another_thread(broker: str) -> None:
    subscriber = ResultSubscriber(broker)
    reader = threading.Thread(target=lambda: list(subscriber), daemon=True)
    reader.start()
    subscriber.close()
    reader.join(5)
    assert not reader.is_alive()
    assert subscriber.poll(1) is None


async def test_the_asyncio_subscriber_misses_nothing_once_ready(broker: str) -> None:
    publisher = KafkaPublisher(broker)
    async with AsyncResultSubscriber(broker) as subscriber:
        result = a_result()
        await publisher.publish([encode_result(result)])
        async for found in subscriber:
            assert found == result
            break
    await publisher.close()


async def test_a_cancelled_wait_loses_no_result(broker: str) -> None:
    publisher = KafkaPublisher(broker)
    async with AsyncResultSubscriber(broker) as subscriber:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subscriber.poll(10), 0.1)
        result = a_result()
        await publisher.publish([encode_result(result)])
        assert await asyncio.wait_for(subscriber.poll(10), 10) == result
    await publisher.close()


async def test_an_asyncio_iteration_ends_with_close(broker: str) -> None:
    subscriber = AsyncResultSubscriber(broker)
    await subscriber.ready()

    async def read() -> None:
        async for _ in subscriber:
            pass

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    await subscriber.close()
    await asyncio.wait_for(reading, 5)
