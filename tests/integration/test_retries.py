"""Waiting requests on a real broker: back when they are due, in due order, through restarts and a kill."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ops.topics import apply_topics
from producers.blocking_publisher import BlockingPublisher
from schemas.record import Headers, OutgoingRecord, Record
from schemas.retry import attempts_of, retry_record_of
from schemas.topics import BULK_REQUESTS, DEAD_LETTERS, REQUESTS, RETRY
from streams.retries.kafka_source import KafkaRetrySource, RetryMember
from streams.retries.retries import Retries
from tests.kafka_reading import end_offsets

WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def broker(kafka: str) -> str:
    apply_topics(kafka, 1)
    return kafka


class Following:
    """A topic from now on: what came with keys of this test, and when."""

    def __init__(self, broker: str, topic: str, prefix: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": broker, "group.id": f"t-{uuid4()}"})
        self._consumer.assign(end_offsets(broker, topic))
        self._prefix = prefix.encode()
        self.arrived: list[tuple[str, float]] = []
        self.headers: list[dict[str, bytes]] = []

    def look(self) -> list[str]:
        for message in self._consumer.consume(500, 0.02):
            if message.error() is None and (message.key() or b"").startswith(self._prefix):
                self.arrived.append(((message.value() or b"").decode(), time.time()))
                self.headers.append(
                    {name: bytes(value or b"") for name, value in cast("Headers", message.headers() or ())}
                )
        return [name for name, _ in self.arrived]

    def close(self) -> None:
        self._consumer.close()


@contextlib.contextmanager
def following(broker: str, prefix: str, topic: str = REQUESTS) -> Iterator[Following]:
    follower = Following(broker, topic, prefix)
    try:
        yield follower
    finally:
        follower.close()


class RunningRetries:
    """The process's loop, stepped by the test."""

    def __init__(self, broker: str, group: str) -> None:
        self._source = KafkaRetrySource(RetryMember(broker, 10, group=group))
        self._publisher = BlockingPublisher(broker)
        self.retries = Retries(self._source, self._publisher.publish, time.monotonic, time.time)
        self._source.subscribe(self.retries.on_assigned, self.retries.on_revoked, self.retries.on_committed)

    def step_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert time.monotonic() < deadline, "it did not get there"
            self.retries.step()

    def close(self) -> None:
        self.retries.leave()
        self._source.close()
        self._publisher.close()


@contextlib.contextmanager
def running(broker: str, group: str) -> Iterator[RunningRetries]:
    process = RunningRetries(broker, group)
    try:
        yield process
    finally:
        process.close()


def put_aside(broker: str, prefix: str, waits: dict[str, float], topic: str = REQUESTS) -> dict[str, float]:
    """Publish to the retry topic, all with one key; when each is due."""
    now = datetime.now(UTC)
    written = []
    for name, seconds in waits.items():
        record = Record(topic, 0, 0, prefix.encode(), name.encode(), (("traceparent", b"00-a-b-01"),), 1_000)
        written.append(retry_record_of(record, now + timedelta(seconds=seconds), 2, "overloaded_error"))
    publish(broker, written)
    return {name: now.timestamp() + seconds for name, seconds in waits.items()}


def publish(broker: str, records: list[OutgoingRecord]) -> None:
    producer = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})
    for record in records:
        producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
    assert producer.flush(10) == 0


def committed(broker: str, group: str) -> int:
    """Records the group has done with, over all partitions."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group})
    try:
        places = consumer.committed([TopicPartition(RETRY, number) for number in range(6)], timeout=10)
        return sum(max(place.offset, 0) for place in places)
    finally:
        consumer.close()


def ends(broker: str) -> int:
    return sum(place.offset for place in end_offsets(broker, RETRY))


def test_each_comes_back_when_it_is_due_whatever_stands_before_it(broker: str) -> None:
    prefix = group = f"due-{uuid4()}"
    with following(broker, prefix, BULK_REQUESTS) as back, running(broker, group) as process:
        put_aside(broker, prefix, {"joined": 0}, BULK_REQUESTS)
        process.step_until(lambda: back.look() == ["joined"])
        due = put_aside(broker, prefix, {"last": 1.4, "first": 0.3, "second": 0.8}, BULK_REQUESTS)
        process.step_until(lambda: len(back.look()) == 4)
        assert [name for name, _ in back.arrived] == ["joined", "first", "second", "last"]
        for name, at in back.arrived[1:]:
            assert 0 <= at - due[name] < 1.0
        assert set(back.headers[0]) == {"traceparent", "x-attempt", "x-first-seen"}
        assert attempts_of(Record(REQUESTS, 0, 0, None, b"", tuple(back.headers[0].items()), 0)) == 2
        process.step_until(lambda: committed(broker, group) == ends(broker))


def test_a_restart_keeps_what_waits_and_repeats_nothing(broker: str) -> None:
    prefix = group = f"restart-{uuid4()}"
    with following(broker, prefix) as back:
        with running(broker, group) as first:
            put_aside(broker, prefix, {"long": 2.0, "short": 0.2, "shorter": 0.1})
            first.step_until(lambda: len(back.look()) == 2)
        with running(broker, group) as second:
            second.step_until(lambda: len(back.look()) == 3)
            second.step_until(lambda: committed(broker, group) == ends(broker))
        assert back.look() == ["shorter", "short", "long"]


def test_a_second_process_shares_the_work_and_neither_repeats_it(broker: str) -> None:
    prefix = group = f"share-{uuid4()}"
    names = {str(number): 0.3 + number * 0.05 for number in range(40)}
    with following(broker, prefix) as back, running(broker, group) as first:
        for number, wait in names.items():
            put_aside(broker, f"{prefix}-{number}", {number: wait})
        first.step_until(lambda: len(back.look()) >= 5)
        with running(broker, group) as second:

            def all_are_back() -> bool:
                second.retries.step()
                return len(back.look()) >= 40

            first.step_until(all_are_back)
        assert sorted(back.look()) == sorted(names)


def test_what_came_from_nowhere_is_a_dead_letter(broker: str) -> None:
    prefix = group = f"stray-{uuid4()}"
    with following(broker, prefix, DEAD_LETTERS) as letters, running(broker, group) as process:
        publish(broker, [OutgoingRecord(RETRY, prefix.encode(), b"stray")])
        process.step_until(lambda: letters.look() == ["stray"])
        assert letters.headers[0]["x-original-topic"] == RETRY.encode()


def headrace_retries(broker: str, name: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ops.cli", "retries"],
        env={**os.environ, "HEADRACE_KAFKA": broker, "HEADRACE_WORKER_NAME": name},
        stderr=subprocess.DEVNULL,
    )


def test_a_kill_loses_nothing_and_sigterm_ends_it_cleanly(broker: str) -> None:
    prefix = f"kill-{uuid4()}"
    with following(broker, prefix) as back, contextlib.ExitStack() as owned:
        names = {str(number): 0.1 + (number % 7) * 0.4 for number in range(100)}
        killed = headrace_retries(broker, prefix)
        owned.callback(killed.wait)
        owned.callback(killed.kill)
        put_aside(broker, prefix, names)
        until(lambda: len(back.look()) > 10)
        killed.send_signal(signal.SIGKILL)
        successor = headrace_retries(broker, prefix)
        owned.callback(successor.kill)
        until(lambda: set(back.look()) == set(names))
        until(lambda: committed(broker, "headrace-retries") == ends(broker))
        successor.send_signal(signal.SIGTERM)
        assert successor.wait(WAIT_SECONDS) == 0


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        assert time.monotonic() < deadline, "it did not get there"
