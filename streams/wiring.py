"""The composition root: the only place that builds adapters and joins them to the steps."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

from prometheus_client import Gauge
from redis.asyncio import BlockingConnectionPool, Redis

from producers.kafka_publisher import KafkaPublisher
from schemas.request import CachePolicy
from schemas.topics import REQUEST_TOPIC_OF_LANE, Lane
from streams import metrics
from streams.admission import Admission, AdmissionRules
from streams.answering import Answering, Lifetime
from streams.cache.memory_cache import MemoryCache
from streams.cache.redis_cache import RedisCache
from streams.cache.tiers import TieredCache
from streams.faust_worker import EngineSettings, FaustOffsetCommitter, WorkerApp, make_app
from streams.health import serve_health
from streams.logs import logger_named
from streams.model.anthropic_model import AnthropicModel, AnthropicOptions
from streams.model.caller import ModelCaller, RetryRules
from streams.model.prices import cost_usd
from streams.process import allow_many_connections, settle_memory
from streams.runner import Runner, RunnerLimits
from streams.settings import Settings

log = logger_named("worker")

_REDIS_CONNECTIONS = 32
_REDIS_TIMEOUT_SECONDS = 2.0


class MissingKeyError(RuntimeError):
    """There is no model to ask."""

    def __init__(self) -> None:
        super().__init__("no ANTHROPIC_API_KEY is set and no local stack runs here; set one, or run: headrace up")


def now_utc() -> datetime:
    return datetime.now(UTC)


def lifetime_rule(settings: Settings) -> Lifetime:
    """How long answers stay fresh: the request's own wish, else its freshness class."""
    by_class = {"stable": settings.stable_ttl_seconds, "volatile": settings.volatile_ttl_seconds}

    def lifetime(policy: CachePolicy) -> timedelta:
        return timedelta(seconds=policy.ttl_seconds or by_class[policy.freshness])

    return lifetime


async def build_answering(settings: Settings, owned: AsyncExitStack) -> Answering:
    """The answering steps over real adapters; what must be closed is put on `owned`."""
    publisher = KafkaPublisher(settings.kafka)
    owned.push_async_callback(publisher.close)
    pool = BlockingConnectionPool.from_url(
        settings.redis.get_secret_value(),
        max_connections=_REDIS_CONNECTIONS,
        timeout=_REDIS_TIMEOUT_SECONDS,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    redis = Redis.from_pool(pool)
    owned.push_async_callback(redis.aclose)
    if settings.model_key is None:
        raise MissingKeyError
    options = AnthropicOptions(timeout_seconds=settings.hard_deadline_seconds)
    model = AnthropicModel(settings.model_key.get_secret_value(), settings.model_url, options)
    owned.push_async_callback(model.close)
    local = MemoryCache(settings.local_cache_bytes, timedelta(seconds=settings.local_cache_seconds), now_utc)
    return Answering(
        Admission(AdmissionRules(settings.default_model, timedelta(seconds=settings.soft_deadline_seconds))),
        TieredCache(local, RedisCache(redis, now_utc)),
        ModelCaller(model, cost_usd, RetryRules(attempts=settings.model_attempts), now_utc, Random()),  # noqa: S311 - jitter
        publisher,
        lifetime_rule(settings),
        now_utc,
    )


def build_engine(settings: Settings, lane: Lane, answering: Answering, failed: asyncio.Event) -> WorkerApp:
    """One lane's Faust app over a Runner of its own; a bug in answering sets `failed`."""
    committer = FaustOffsetCommitter()
    limits = RunnerLimits(settings.max_in_flight, settings.max_in_flight_bytes, settings.batch_records)
    runner = Runner(answering.answer, committer, limits, lambda _: failed.set())
    _watch(runner, lane)
    engine = EngineSettings(
        bootstrap_servers=settings.kafka,
        group=f"headrace-worker-{lane}",
        topic=REQUEST_TOPIC_OF_LANE[lane],
        data_dir=settings.home / "faust" / f"{lane}-{settings.worker_name or 'worker'}",
        member=f"{settings.worker_name}-{lane}" if settings.worker_name else None,
        session_timeout_seconds=settings.session_timeout_seconds,
        commit_interval_seconds=settings.commit_interval_seconds,
        drain_seconds=settings.drain_seconds,
    )
    return make_app(engine, runner, committer)


async def run_worker(settings: Settings, lanes: Sequence[Lane]) -> int:
    """Answer requests of `lanes` until SIGTERM or SIGINT (0) or a failure (1); both drain first."""
    failed, stopped_by_signal = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped_by_signal.set)
    async with AsyncExitStack() as owned:
        answering = await build_answering(settings, owned)
        apps = [build_engine(settings, lane, answering, failed) for lane in lanes]
        port = serve_health(settings.metrics_host, settings.metrics_port, lambda: _problem(apps))
        log.info("starting", lanes=list(lanes), kafka=settings.kafka, rehearsed=settings.rehearsed, metrics_port=port)
        allow_many_connections()
        settle_memory()
        await asyncio.gather(*(app.start() for app in apps))
        await _first_of(failed, stopped_by_signal, *(app.crash_event for app in apps))
        await asyncio.gather(*(app.stop() for app in apps))
    log.info("stopped", by_signal=stopped_by_signal.is_set())
    return 0 if stopped_by_signal.is_set() else 1


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _problem(apps: Sequence[WorkerApp]) -> str | None:
    return next((problem for app in apps if (problem := app.problem())), None)


def _watch(runner: Runner, lane: Lane) -> None:
    gauges: tuple[tuple[Gauge, str], ...] = (
        (metrics.IN_FLIGHT, "in_flight"),
        (metrics.IN_FLIGHT_BYTES, "in_flight_bytes"),
        (metrics.ASSIGNED_PARTITIONS, "partitions"),
        (metrics.LATE_COMPLETIONS, "late_completions"),
    )
    for gauge, attribute in gauges:
        gauge.labels(lane).set_function(partial(getattr, runner, attribute))
