"""What the gateway knows of the queue, asked of a real broker."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from producers.uuid7 import uuid7
from schemas.topics import BULK_REQUESTS, Lane
from streams.gateway.kafka_backlog import GROUP_OF_LANE, BacklogQuestions, BacklogUnknownError, KafkaBacklogReader
from streams.gateway.postgres_queues import PostgresQueues
from streams.gateway.queue_load import Backlog, Limits, QueueLoad
from tests.gateway_parts import own_database


def publish(kafka: str, records: int) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for _ in range(records):
        producer.produce(BULK_REQUESTS, b"{}", partition=3)
    assert producer.flush(30) == 0


def commit_further(kafka: str, records: int) -> None:
    """As the workers of the lane would, that many further than they are."""
    member = Consumer({"bootstrap.servers": kafka, "group.id": GROUP_OF_LANE["bulk"], "enable.auto.commit": False})
    place = TopicPartition(BULK_REQUESTS, 3)
    low, _ = member.get_watermark_offsets(place, timeout=10)
    begun = max(member.committed([place], timeout=10)[0].offset, low)
    member.commit(offsets=[TopicPartition(BULK_REQUESTS, 3, begun + records)], asynchronous=False)
    member.close()


def test_what_waits_and_what_is_done_are_counted(kafka: str) -> None:
    apply_topics(kafka)
    questions = BacklogQuestions(kafka)
    try:
        before = questions.backlogs()["bulk"]
        publish(kafka, 10)
        assert questions.backlogs()["bulk"] == Backlog(before.waiting + 10, before.done)
        commit_further(kafka, 4)
        assert questions.backlogs()["bulk"] == Backlog(before.waiting + 6, before.done + 4)
    finally:
        questions.close()


def test_a_broker_that_is_not_there_is_told_in_bounded_time() -> None:
    questions = BacklogQuestions("127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(BacklogUnknownError, match="headrace status"):
        questions.backlogs()
    assert time.monotonic() - began < 30
    questions.close()


async def test_the_reader_tells_the_loop_it_was_started_on(kafka: str) -> None:
    apply_topics(kafka)
    seen: asyncio.Queue[Mapping[Lane, Backlog]] = asyncio.Queue()
    reader = KafkaBacklogReader(kafka, seen.put_nowait, lambda _: None)
    reader.start()
    try:
        async with asyncio.timeout(30):
            assert (await seen.get()).keys() == {"interactive", "bulk"}
    finally:
        await reader.close()


async def test_tenants_are_counted_where_it_matters(postgres_dsn: str) -> None:
    dsn = own_database(postgres_dsn)
    migrate_postgres(dsn, datetime.now(UTC))
    with psycopg.connect(dsn, autocommit=True) as connection:
        for tenant, lane, status in (
            ("acme", "bulk", "pending"),
            ("acme", "bulk", "pending"),
            ("acme", None, "pending"),
            ("globex", "bulk", "completed"),
        ):
            connection.execute(
                "INSERT INTO requests (request_id, tenant, lane, status, accepted_at) VALUES (%s, %s, %s, %s, now())",
                (uuid7(), tenant, lane, status),
            )
    load = QueueLoad(Limits(waiting=4, tenant_share=0.5), time.monotonic)
    load.note_backlogs({"bulk": Backlog(2, 0)})
    queues = PostgresQueues(dsn, load.is_pressed, load.note_tenants)
    await queues.look()
    assert queues.problem is None
    acme, globex = load.overload("acme", "bulk"), load.overload("globex", "bulk")
    assert acme is not None
    assert (acme.code, globex) == ("tenant_backlog", None)
    await queues.aclose()


async def test_a_database_that_is_away_is_a_problem_and_no_crash() -> None:
    queues = PostgresQueues(f"postgresql://headrace@127.0.0.1:9/{uuid4()}", lambda: True, lambda _: None)
    await queues.look()
    assert "headrace status" in (queues.problem or "")
    await queues.aclose()
