"""A cancellation reaches every worker that runs or starts within a day, through the real control topic."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID, uuid4

import pytest

from ops.cli import run
from ops.topics import apply_topics
from producers.blocking_publisher import BlockingPublisher
from schemas.codec import decode_cancel, encode_cancel, encode_result
from schemas.control import CancelRequest
from schemas.record import OutgoingRecord, Record
from schemas.topics import CONTROL
from streams.control.cancellations import Cancellations
from streams.control.kafka_reader import KafkaControlReader
from tests.answers_by_hand import until
from tests.kafka_reading import end_offsets, read_from
from tests.sinks import a_result

READY_SECONDS = 30


@pytest.fixture(scope="module")
def broker(kafka: str) -> str:
    apply_topics(kafka, 1)
    return kafka


def utc_now() -> datetime:
    return datetime.now(UTC)


@contextlib.asynccontextmanager
async def a_worker(broker: str) -> AsyncIterator[tuple[Cancellations, KafkaControlReader]]:
    cancellations = Cancellations(utc_now)
    reader = KafkaControlReader(broker, cancellations.note)
    reader.start()
    try:
        yield cancellations, reader
    finally:
        await reader.close()


def publish(broker: str, *records: OutgoingRecord) -> None:
    publisher = BlockingPublisher(broker)
    try:
        assert all(publisher.publish(records))
    finally:
        publisher.close()


def a_cancel(request_id: UUID, tenant: str = "meridian", hours_ago: float = 0) -> OutgoingRecord:
    at = utc_now() - timedelta(hours=hours_ago)
    return encode_cancel(CancelRequest(request_id=request_id, tenant=tenant, by="an operator", at=at))


async def test_a_reader_that_waits_for_a_broker_ends_when_it_is_closed() -> None:
    reader = KafkaControlReader("127.0.0.1:1", Cancellations(utc_now).note)
    before = set(threading.enumerate())
    reader.start()
    (thread,) = set(threading.enumerate()) - before
    await reader.close()
    assert not thread.is_alive()


async def test_all_workers_hear_of_it_while_they_run(broker: str) -> None:
    request_id, told = uuid4(), list[UUID]()
    async with a_worker(broker) as (one, ready_one), a_worker(broker) as (other, ready_other):
        assert await ready_one.await_ready(READY_SECONDS)
        assert await ready_other.await_ready(READY_SECONDS)
        one.on_cancel(lambda _, cancelled: told.append(cancelled))
        await asyncio.to_thread(publish, broker, a_cancel(request_id))
        await until(lambda: one.is_cancelled("meridian", request_id) and other.is_cancelled("meridian", request_id))
        assert told == [request_id]
        assert not one.is_cancelled("intruder", request_id)


async def test_a_worker_that_is_ready_knows_all_that_was_cancelled_before_it_started(broker: str) -> None:
    ids, old = [uuid4() for _ in range(300)], uuid4()
    records = [a_cancel(request_id) for request_id in ids]
    await asyncio.to_thread(publish, broker, *records, a_cancel(old, hours_ago=25))
    async with a_worker(broker) as (cancellations, reader):
        assert await reader.await_ready(READY_SECONDS)
        assert reader.ready()
        assert all(cancellations.is_cancelled("meridian", request_id) for request_id in ids)
        assert not cancellations.is_cancelled("meridian", old)


async def test_what_is_no_cancellation_is_passed_over(broker: str) -> None:
    request_id = uuid4()
    other_type = (("ce_specversion", b"1.0"), ("ce_type", b"com.headrace.invalidate.v1"))
    strays = [OutgoingRecord(CONTROL, None, b"\xff"), OutgoingRecord(CONTROL, None, b"{}", other_type)]
    await asyncio.to_thread(publish, broker, *strays, OutgoingRecord(CONTROL, b"k", None), a_cancel(request_id))
    async with a_worker(broker) as (cancellations, reader):
        assert await reader.await_ready(READY_SECONDS)
        assert cancellations.is_cancelled("meridian", request_id)


async def test_a_broker_that_is_down_is_waited_for() -> None:
    async with a_worker("127.0.0.1:1") as (_, reader):
        assert not await reader.await_ready(0.3)
        assert not reader.ready()


def test_the_command_publishes_who_cancels_what(
    broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA", broker)
    request_id, before = uuid4(), end_offsets(broker, CONTROL)
    assert run(["cancel", str(request_id), "--tenant", "meridian", "--by", "u-1042", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "request_id": str(request_id),
        "tenant": "meridian",
        "status": None,
    }
    (record,) = read_from(broker, before)
    event = decode_cancel(Record(CONTROL, 0, 0, record.key, record.value, record.headers, 1))
    assert (event.request_id, event.tenant, event.by) == (request_id, "meridian", "u-1042")


def test_the_command_waits_for_how_the_request_ends(
    broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA", broker)
    monkeypatch.setenv("HEADRACE_POSTGRES", "postgresql://u:p@127.0.0.1:1/d")
    request_id, before = uuid4(), end_offsets(broker, CONTROL)

    def worker() -> None:
        while not read_from(broker, before):
            pass
        publish(broker, encode_result(a_result(request_id, status="cancelled", answer=None, source=None)))

    answering = Thread(target=worker)
    answering.start()
    code = run(["cancel", str(request_id), "--tenant", "meridian", "--wait", "--timeout-seconds", "20"])
    answering.join()
    assert (code, capsys.readouterr().out) == (0, f"{request_id} is cancelled\n")


@pytest.mark.parametrize("arguments", [["no-uuid", "--tenant", "a"], [str(uuid4()), "--tenant", "a/b"]])
def test_a_name_that_cannot_be_is_refused_before_anything_is_sent(arguments: list[str]) -> None:
    assert run(["cancel", *arguments]) == 2
