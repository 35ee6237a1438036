"""The composition root of the retries process: it loads neither Faust nor the model's SDK."""

import asyncio
import signal
import time
from collections.abc import Sequence
from threading import Event
from typing import Final

from producers.kafka_publisher import KafkaPublisher
from producers.publisher import PublishError
from schemas.record import OutgoingRecord
from streams.health import serve_health
from streams.kafka_retry_source import KafkaRetrySource, RetryMember
from streams.logs import logger_named
from streams.retries import Retries
from streams.settings import Settings

log = logger_named("retries")

_DELIVERY_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 120.0


class BlockingPublisher:
    """A KafkaPublisher for code without an event loop; use it from one thread."""

    def __init__(self, bootstrap_servers: str, delivery_timeout_seconds: float = _DELIVERY_SECONDS) -> None:
        self._publisher = KafkaPublisher(bootstrap_servers, delivery_timeout_seconds=delivery_timeout_seconds)
        self._runner = asyncio.Runner()

    def publish(self, records: Sequence[OutgoingRecord]) -> list[bool]:
        """Which the broker confirmed, in their order."""
        try:
            self._runner.run(self._publisher.publish(records))
        except PublishError as error:
            log.warning("publishing fails", error=str(error))
            refused = {id(refusal.record) for refusal in error.refusals}
            return [id(record) not in refused for record in records]
        return [True] * len(records)

    def close(self) -> None:
        self._runner.run(self._publisher.close())
        self._runner.close()


def run_retries(settings: Settings) -> int:
    """Put due requests back until SIGTERM or SIGINT; then send what is due, commit and leave. The exit code, 0."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    source = KafkaRetrySource(RetryMember(settings.kafka, settings.session_timeout_seconds, settings.worker_name))
    publisher = BlockingPublisher(settings.kafka)
    retries = Retries(source, publisher.publish, time.monotonic, time.time)
    source.subscribe(retries.on_assigned, retries.on_revoked)
    port = serve_health(settings.metrics_host, settings.metrics_port, lambda: problem_of(retries))
    log.info("starting", kafka=settings.kafka, metrics_port=port)
    try:
        while not stop.is_set():
            retries.step()
        all_sent = retries.leave()
    finally:
        source.close()
        publisher.close()
    log.info("stopped", all_sent=all_sent, still_waiting=retries.waiting)
    return 0


def problem_of(retries: Retries) -> str | None:
    """A broker that is down is waited for and no problem of ours; a loop that stands still is one."""
    silent_seconds = time.monotonic() - retries.stepped_at
    return f"the loop has not moved for {silent_seconds:.0f} s" if silent_seconds > _SILENT_SECONDS else None
