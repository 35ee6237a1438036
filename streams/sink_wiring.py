"""The composition root of the sinks, apart from the worker's: a sink loads neither Faust nor the model's SDK."""

import asyncio
import signal
import time
from collections.abc import Sequence
from threading import Event
from typing import Final, Literal, assert_never

from producers.kafka_access import require_access
from producers.kafka_connection import KafkaAddress
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import PublishError
from schemas.record import OutgoingRecord
from schemas.topics import BULK_REQUESTS, REQUESTS, RESULTS
from streams.health import serve_health
from streams.logs import logger_named
from streams.process import settle_memory, take_short_turns
from streams.settings import Settings
from streams.sinks.batch_writer import DeadLetters
from streams.sinks.batching import BatchPolicy
from streams.sinks.kafka_source import GroupSettings, KafkaSource
from streams.sinks.port import ResultStore, StoreUnavailable
from streams.sinks.sink import Sink, SinkIdentity

log = logger_named("sink")

StoreName = Literal["clickhouse", "postgres"]

TOPICS_OF: Final[dict[StoreName, tuple[str, ...]]] = {
    "clickhouse": (RESULTS,),
    # Requests too, so that one is visible before it is answered.
    "postgres": (RESULTS, REQUESTS, BULK_REQUESTS),
}
_DEAD_LETTER_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 120.0
_TWO_BATCHES_OBJECTS: Final = 1_000_000


def build_store(store: StoreName, settings: Settings) -> ResultStore:
    match store:
        case "clickhouse":
            from streams.sinks.clickhouse_store import ClickHouseStore

            return ClickHouseStore(settings.clickhouse.get_secret_value(), with_text=settings.sink_store_text)
        case "postgres":
            from streams.sinks.postgres_store import PostgresStore

            return PostgresStore(settings.postgres.get_secret_value())
        case _:
            assert_never(store)


def batch_policy(store: StoreName, settings: Settings) -> BatchPolicy:
    """Half a batch is a good one for Postgres; ClickHouse merges what it is given, and whole ones cost it half."""
    rows = settings.sink_batch_rows
    eager_rows = rows // 2 if store == "postgres" else None
    return BatchPolicy(rows, settings.sink_batch_seconds, eager_rows=eager_rows)


def build_sink(store: StoreName, settings: Settings) -> tuple[Sink, KafkaSource]:
    """A sink that has joined its group; the source is the caller's to close, after `sink.leave`."""
    member = f"{settings.worker_name}-{store}" if settings.worker_name else None
    group = GroupSettings(
        settings.kafka_connection, f"headrace-sink-{store}", TOPICS_OF[store], settings.session_timeout_seconds, member
    )
    source = KafkaSource(group)
    identity = SinkIdentity(store, batch_policy(store, settings))
    sink = Sink(
        identity, source, build_store(store, settings), dead_letters_to(settings.kafka_connection), time.monotonic
    )
    source.subscribe(sink.on_revoked)
    return sink, source


def run_sink(store: StoreName, settings: Settings) -> int:
    """Write results until SIGTERM or SIGINT; then write what is held, commit and leave. The exit code, 0.

    Raises KafkaRefusedError where the broker does not take us, or hides a topic.
    """
    require_access(settings.kafka_connection, TOPICS_OF[store])
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sink, source = build_sink(store, settings)
    port = serve_health(settings.metrics_host, settings.metrics_port, lambda: problem_of(sink))
    ease_the_interpreter()
    log.info("starting", store=store, kafka=settings.kafka_connection.servers, metrics_port=port)
    try:
        while not stop.is_set():
            sink.step()
        all_written = sink.leave()
    finally:
        source.close()
    log.info("stopped", store=store, all_written=all_written)
    return 0


def ease_the_interpreter() -> None:
    """Two batches of rows are no garbage, and are not searched for any; the writing thread is not kept waiting."""
    settle_memory(_TWO_BATCHES_OBJECTS)
    take_short_turns()


def problem_of(sink: Sink) -> str | None:
    """A store that is down is waited for and no problem of the sink; a loop that stands still is one."""
    silent_seconds = time.monotonic() - sink.stepped_at
    return f"the sink has not moved for {silent_seconds:.0f} s" if silent_seconds > _SILENT_SECONDS else None


def dead_letters_to(kafka: KafkaAddress) -> DeadLetters:
    """Publishes on a connection of its own each time: it is needed so rarely that none is kept open."""

    async def publish(records: Sequence[OutgoingRecord]) -> None:
        publisher = KafkaPublisher(kafka, delivery_timeout_seconds=_DEAD_LETTER_SECONDS)
        try:
            await publisher.publish(records)
        finally:
            await publisher.close()

    def put(records: Sequence[OutgoingRecord]) -> None:
        try:
            asyncio.run(publish(records))
        except PublishError as error:
            raise StoreUnavailable("The dead-letter topic", str(error)) from error

    return put
