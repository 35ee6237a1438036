"""The composition root of the retries process: it loads neither Faust nor the model's SDK."""

import signal
import time
from threading import Event
from typing import Final

from producers.blocking_publisher import BlockingPublisher
from producers.kafka_access import require_access
from schemas.topics import RETRY
from streams.health import serve_health
from streams.logs import logger_named
from streams.retries.kafka_source import KafkaRetrySource, RetryMember
from streams.retries.retries import Retries
from streams.settings import Settings

log = logger_named("retries")

_SILENT_SECONDS: Final = 120.0


def run_retries(settings: Settings) -> int:
    """Put due requests back until SIGTERM or SIGINT; then send what is due, commit and leave. The exit code, 0.

    Raises KafkaRefusedError where the broker does not take us, or hides its topic.
    """
    kafka = settings.kafka_connection
    require_access(kafka, [RETRY])
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    source = KafkaRetrySource(RetryMember(kafka, settings.session_timeout_seconds, settings.worker_name))
    publisher = BlockingPublisher(kafka)
    retries = Retries(source, publisher.publish, time.monotonic, time.time)
    source.subscribe(retries.on_assigned, retries.on_revoked, retries.on_committed)
    port = serve_health(settings.metrics_host, settings.metrics_port, lambda: problem_of(retries))
    log.info("starting", kafka=kafka.servers, metrics_port=port)
    try:
        while not stop.is_set():
            retries.step()
        still_waiting = retries.waiting
        all_sent = retries.leave()
    finally:
        source.close()
        publisher.close()
    log.info("stopped", all_sent=all_sent, still_waiting=still_waiting)
    return 0


def problem_of(retries: Retries) -> str | None:
    """A broker that is down is waited for and no problem of ours; a loop that stands still is one."""
    silent_seconds = time.monotonic() - retries.stepped_at
    return f"the loop has not moved for {silent_seconds:.0f} s" if silent_seconds > _SILENT_SECONDS else None
