"""One worker from start to end: what ends it, in which order it lets go, and with which exit code."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from schemas.topics import CONTROL, REQUEST_TOPIC_OF_LANE, Lane
from streams.admission.deaths import DeathBook, Place
from streams.answering import RecordCrashError
from streams.background import Background
from streams.broker_wait import wait_for_broker
from streams.faust_worker import WorkerApp
from streams.health import serve_health
from streams.logs import logger_named
from streams.process import allow_many_connections, cut_off_after, settle_memory, take_short_turns
from streams.settings import Settings
from streams.wiring import WorkerParts, build_engine

log = logger_named("worker")

_AFTER_DRAIN_SECONDS = 15.0
"""For the last commit, the last heartbeat and closing connections; a broker that is away may hold up any of them."""


class WorkerEnd:
    """Why a worker is to end: a signal, or failures."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self.by_signal = asyncio.Event()
        self.failures: list[BaseException] = []

    def on_crash(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def listen(self) -> None:
        """SIGTERM and SIGINT end the worker from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.by_signal.set)

    @property
    def exit_code(self) -> int:
        return 0 if self.by_signal.is_set() and not self.failures else 1


async def run_worker(settings: Settings, lanes: Sequence[Lane]) -> int:
    """Answer requests of `lanes` until SIGTERM or SIGINT (0) or a failure (1); both drain first."""
    end = WorkerEnd()
    end.listen()
    async with AsyncExitStack() as owned:
        parts = WorkerParts(settings, owned)
        answering = await parts.answering()
        apps = [build_engine(settings, lane, answering, end.on_crash) for lane in lanes]
        port = serve_health(settings.metrics_host, settings.metrics_port, lambda: _problem(apps))
        log.info(
            "starting",
            lanes=list(lanes),
            kafka=settings.kafka_connection.servers,
            rehearsed=settings.rehearsed,
            metrics_port=port,
        )
        allow_many_connections()
        settle_memory()
        take_short_turns()
        # Pushed last, so ended first: the heartbeat outlives the drain, and not the connections it needs.
        background = Background(end.on_crash)
        owned.push_async_callback(background.aclose)
        for work in parts.background:
            background.start(work)
        topics = [CONTROL, *(REQUEST_TOPIC_OF_LANE[lane] for lane in lanes)]
        if await wait_for_broker(settings.kafka_connection, topics, end.by_signal):
            await _serve(apps, end)
            # Before the drain, which may be cut off: a death that is not written down is not counted.
            await bury(end.failures, parts.deaths)
            cut_off_after(settings.drain_seconds + _AFTER_DRAIN_SECONDS)
            await asyncio.gather(*(app.stop() for app in apps))
    log.info("stopped", by_signal=end.by_signal.is_set())
    return end.exit_code


async def bury(failures: Sequence[BaseException], deaths: DeathBook) -> None:
    """Write down the records this worker dies at, so that one of them cannot kill for ever."""
    for failure in failures:
        if isinstance(failure, RecordCrashError):
            place = Place.of(failure.record)
            log.error("died_at_record", topic=place.topic, partition=place.partition, offset=place.offset)
            await deaths.write(place)


async def _serve(apps: Sequence[WorkerApp], end: WorkerEnd) -> None:
    await asyncio.gather(*(app.start() for app in apps))
    await _first_of(end.failed, end.by_signal, *(app.crash_event for app in apps))


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _problem(apps: Sequence[WorkerApp]) -> str | None:
    return next((problem for app in apps if (problem := app.problem())), None)
