"""The sinks on the real broker and the real stores: nothing lost, nothing twice, no outage that needs a hand."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ops.local.clickhouse import clickhouse_server
from ops.local.part import Server
from ops.local.ports import choose_port
from ops.local.processes import start
from ops.migrations.apply import migrate_clickhouse, migrate_postgres
from ops.topics import apply_topics
from producers.uuid7 import uuid7
from schemas.codec import encode_request, encode_result
from schemas.record import OutgoingRecord
from schemas.topics import BULK_REQUESTS, DEAD_LETTERS, REQUESTS, RESULTS
from streams.settings import Settings
from streams.sink_wiring import TOPICS_OF, StoreName, build_store, dead_letters_to
from streams.sinks.batching import BatchPolicy
from streams.sinks.clickhouse_store import clickhouse_client
from streams.sinks.kafka_source import GroupSettings, KafkaSource
from streams.sinks.sink import Sink, SinkIdentity
from tests.kafka_reading import end_offsets, read_from
from tests.sinks import a_result
from tests.unit.events import a_request

WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def settings(kafka: str, postgres_dsn: str, clickhouse_url: str) -> Settings:
    apply_topics(kafka)
    migrate_postgres(postgres_dsn, datetime.now(UTC))
    migrate_clickhouse(clickhouse_url)
    return Settings.model_validate({"kafka": kafka, "postgres": postgres_dsn, "clickhouse": clickhouse_url})


Positions = list[TopicPartition]


@pytest.fixture
def here(settings: Settings) -> Positions:
    """Where the topics end before this test: they are shared, and other tests' records are no part of it."""
    topics = (RESULTS, REQUESTS, BULK_REQUESTS)
    return [position for topic in topics for position in end_offsets(settings.kafka, topic)]


class RunningSink:
    """A sink of a group of its own that begins at the positions, stepped by the test."""

    def __init__(self, store: StoreName, settings: Settings, begin: Positions, rows: int = 500) -> None:
        self.group = f"test-{uuid4()}"
        begin_at(settings.kafka, self.group, begin)
        self._source = KafkaSource(GroupSettings(settings.kafka, self.group, TOPICS_OF[store], 10))
        identity = SinkIdentity(store, BatchPolicy(rows, age_seconds=0.2))
        self.sink = Sink(
            identity, self._source, build_store(store, settings), dead_letters_to(settings.kafka), time.monotonic
        )
        self._source.subscribe(self.sink.on_revoked)

    def step_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert time.monotonic() < deadline, "the sink did not get there"
            self.sink.step()

    def leave(self) -> None:
        self.sink.leave()
        self._source.close()


@contextlib.contextmanager
def running(store: StoreName, settings: Settings, begin: Positions) -> Iterator[RunningSink]:
    sink = RunningSink(store, settings, begin)
    try:
        yield sink
    finally:
        sink.leave()


def begin_at(kafka: str, group: str, positions: Positions) -> None:
    """Let a group that has no member yet read from here on."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
    committed = consumer.commit(offsets=positions, asynchronous=False)
    consumer.close()
    assert all(each.error is None for each in committed or ())


def publish(kafka: str, *records: OutgoingRecord) -> None:
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for record in records:
        producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
    assert producer.flush(20) == 0


def in_postgres(settings: Settings, ids: Sequence[UUID], status: str = "completed") -> int:
    query = "SELECT count(*) FROM requests WHERE request_id = ANY(%s) AND status = %s"
    with psycopg.connect(settings.postgres.get_secret_value()) as connection:
        row = connection.execute(query, (list(ids), status)).fetchone()
    return row[0] if row else 0


def in_clickhouse(settings: Settings, ids: Sequence[UUID]) -> int:
    client = clickhouse_client(settings.clickhouse.get_secret_value())
    query = "SELECT count() FROM results WHERE request_id IN {ids:Array(UUID)}"
    return int(client.query(query, parameters={"ids": [str(each) for each in ids]}).first_row[0])


def counted(store: StoreName, settings: Settings, ids: Sequence[UUID]) -> int:
    return in_postgres(settings, ids) if store == "postgres" else in_clickhouse(settings, ids)


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_results_arrive_once_even_when_they_are_read_from_the_beginning_again(
    store: StoreName, settings: Settings, here: Positions
) -> None:
    ids = [uuid7() for _ in range(1200)]
    publish(settings.kafka, *(encode_result(a_result(each)) for each in ids))
    for _ in range(2):
        with running(store, settings, here) as sink:
            sink.step_until(lambda: counted(store, settings, ids) == len(ids))
    assert counted(store, settings, ids) == len(ids)


def test_offsets_are_committed_up_to_what_was_written(settings: Settings, here: Positions) -> None:
    ids = [uuid7() for _ in range(50)]
    publish(settings.kafka, *(encode_result(a_result(each)) for each in ids))
    with running("postgres", settings, here) as sink:
        sink.step_until(lambda: in_postgres(settings, ids) == len(ids))
    reader = Consumer({"bootstrap.servers": settings.kafka, "group.id": sink.group})
    partitions = [TopicPartition(RESULTS, number) for number in range(12)]
    for place in reader.committed(partitions, timeout=10):
        end_offset = reader.get_watermark_offsets(place, timeout=10)[1]
        assert end_offset in {place.offset, 0}
    reader.close()


def test_a_request_is_visible_before_its_result(settings: Settings, here: Positions) -> None:
    request_id = uuid7()
    publish(settings.kafka, encode_request(a_request(request_id=request_id), REQUESTS))
    with running("postgres", settings, here) as sink:
        sink.step_until(lambda: in_postgres(settings, [request_id], "pending") == 1)
        publish(settings.kafka, encode_result(a_result(request_id)))
        sink.step_until(lambda: in_postgres(settings, [request_id]) == 1)


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_a_bad_row_is_set_aside_alone(store: StoreName, settings: Settings, here: Positions) -> None:
    bad, good = uuid7(), [uuid7() for _ in range(40)]
    key, letters = str(bad).encode(), end_offsets(settings.kafka, DEAD_LETTERS)
    publish(
        settings.kafka,
        *(encode_result(a_result(each)) for each in good[:20]),
        encode_result(a_result(bad, attempts=2**70)),
        OutgoingRecord(RESULTS, key, b"{not json"),
        *(encode_result(a_result(each)) for each in good[20:]),
    )
    with running(store, settings, here) as sink:
        sink.step_until(lambda: counted(store, settings, good) == len(good))
        sink.step_until(lambda: reasons(settings.kafka, letters, key) >= {b"refused_by_store", b"not_json"})
    assert counted(store, settings, [bad]) == 0


def test_the_postgres_sink_waits_for_a_store_that_is_down(settings: Settings, here: Positions) -> None:
    """The store's address leads nowhere until a relay to the real one is started."""
    port = choose_port()
    real = psycopg.conninfo.conninfo_to_dict(settings.postgres.get_secret_value())
    relayed = settings.postgres.get_secret_value().replace(f":{real['port']}/", f":{port}/")
    waiting = settings.model_copy(update={"postgres": type(settings.postgres)(relayed)})
    ids = [uuid7() for _ in range(30)]
    publish(settings.kafka, *(encode_result(a_result(each)) for each in ids))
    with running("postgres", waiting, here) as sink:
        sink.step_until(lambda: sink.sink.is_paused)
        with relay(port, int(str(real["port"]))):
            sink.step_until(lambda: in_postgres(settings, ids) == len(ids) and not sink.sink.is_paused)


@contextlib.contextmanager
def relay(port: int, target: int) -> Iterator[None]:
    """A process that passes TCP connections on."""
    code = """
import asyncio, sys
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(port), str(target)])
    try:
        await_port(port)
        yield
    finally:
        process.kill()
        process.wait()


def await_port(port: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_the_clickhouse_sink_goes_on_after_its_store_was_killed(
    settings: Settings, here: Positions, tmp_path: Path
) -> None:
    server = clickhouse_server(tmp_path / "clickhouse", "of-a-test")
    own = settings.model_copy(update={"clickhouse": type(settings.clickhouse)(server.endpoint)})
    first, second = ([uuid7() for _ in range(30)] for _ in range(2))
    with contextlib.ExitStack() as owned:
        process = start(server.part.command, server.part.stop, tmp_path / "log")
        owned.callback(process.wait)
        owned.callback(process.kill)
        await_health(server)
        migrate_clickhouse(server.endpoint)
        sink = owned.enter_context(running("clickhouse", own, here))
        publish(settings.kafka, *(encode_result(a_result(each)) for each in first))
        sink.step_until(lambda: in_clickhouse(own, first) == len(first))
        process.kill()
        process.wait()
        publish(settings.kafka, *(encode_result(a_result(each)) for each in second))
        sink.step_until(lambda: sink.sink.is_paused)
        again = start(server.part.command, server.part.stop, tmp_path / "log")
        owned.callback(again.wait)
        owned.callback(again.kill)
        await_health(server)
        sink.step_until(lambda: not sink.sink.is_paused and in_clickhouse(own, [*first, *second]) == 60)
        sink.leave = lambda: sink._source.close()  # type: ignore[method-assign]  # noqa: PLW0108 - the server goes first


def await_health(server: Server) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not server.part.is_healthy():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reasons(kafka: str, since: Positions, key: bytes) -> set[bytes | None]:
    """Why the records with this key became dead letters."""
    found = [record for record in read_from(kafka, since) if record.key == key]
    return {dict(record.headers)["x-error-type"] for record in found}
