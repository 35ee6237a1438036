"""The composition root: the only place that builds adapters and joins them to the steps."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from time import monotonic

from prometheus_client import Gauge
from redis.asyncio import BlockingConnectionPool, Redis

from producers.kafka_publisher import KafkaPublisher
from producers.uuid7 import uuid7
from schemas.result import Usage
from schemas.topics import REQUEST_TOPIC_OF_LANE, Lane
from streams import metrics
from streams.admission import Admission, FreshSince, Work
from streams.admission.dead_letter_limit import DeadLetterLimit
from streams.admission.intake_guard import IntakeGuard
from streams.admission.redis_deaths import RedisDeathBook
from streams.admission.redis_in_hand import RedisHands
from streams.answering import Answering
from streams.cache.cutoffs import Cutoffs
from streams.cache.memory_cache import MemoryCache
from streams.cache.postgres_cutoffs import PostgresCutoffs
from streams.cache.redis_cache import RedisCache
from streams.cache.tiers import TieredCache
from streams.caution import Caution
from streams.control.cancellations import Cancellations
from streams.control.kafka_reader import KafkaControlReader
from streams.endpoint_settings import ModelEndpoint
from streams.failpoints import Failpoints
from streams.faust_worker import EngineSettings, FaustOffsetCommitter, WorkerApp, make_app
from streams.framing import frame_of
from streams.ledger.port import Ledger
from streams.ledger.postgres_budgets import BudgetWatch
from streams.ledger.postgres_ledger import PostgresLedger, new_owner
from streams.limits.buckets import BucketRules
from streams.limits.fair_limiter import FairLimiter
from streams.limits.own_share import SharedOrOwnShare
from streams.limits.presets import configured_for
from streams.limits.rates import Rates
from streams.limits.redis_buckets import RedisBuckets
from streams.model.anthropic_model import AnthropicModel, AnthropicOptions
from streams.model.balanced_model import BalancedModel
from streams.model.endpoint import ClosableModel, Endpoint, RestRules
from streams.model.gate import GateRules, ModelGate
from streams.model.prices import ceiling_usd, cost_usd
from streams.model.redis_pauses import RedisPauseBoard
from streams.paying import FallbackPolicy, Payer, PayingRules, PayingTools
from streams.retries.policy import RetryPolicy
from streams.runner import Runner, RunnerLimits
from streams.settings import Settings

_REDIS_CONNECTIONS = 32
_REDIS_TIMEOUT_SECONDS = 2.0
_STEP_SECONDS = 20.0
_REPORT_SECONDS = 0.01


class MissingKeyError(RuntimeError):
    """There is no model to ask."""

    def __init__(self) -> None:
        super().__init__("no ANTHROPIC_API_KEY is set and no local stack runs here; set one, or run: headrace up")


def now_utc() -> datetime:
    return datetime.now(UTC)


def lifetime_rule(settings: Settings) -> Callable[[Work], timedelta]:
    """How long answers stay fresh: the request's own wish, else its freshness class; one not to be kept, not at all."""
    by_class = {"stable": settings.stable_ttl_seconds, "volatile": settings.volatile_ttl_seconds}

    def lifetime(work: Work) -> timedelta:
        policy = work.request.cache
        if policy.mode == "bypass":
            return timedelta(0)
        return timedelta(seconds=policy.ttl_seconds or by_class[policy.freshness])

    return lifetime


class WorkerParts:
    """One worker's adapters, built once, closed together; `background` runs as long as the worker does."""

    def __init__(self, settings: Settings, owned: AsyncExitStack) -> None:
        self.settings = settings
        self.owned = owned
        self.background: list[Callable[[], Coroutine[None, None, None]]] = []
        self.redis = self._redis()
        self.deaths = RedisDeathBook(self.redis)
        self.failpoints = Failpoints(settings.failpoints)

    async def answering(self) -> Caution:
        """The answering steps over real adapters, behind what goes carefully after a death."""
        settings = self.settings
        frame = await asyncio.to_thread(frame_of, settings)
        publisher = KafkaPublisher(settings.kafka_connection, frame=frame, report_seconds=_REPORT_SECONDS)
        self.owned.push_async_callback(publisher.close)
        guard = IntakeGuard(
            self._cancellations(), DeadLetterLimit(), await self.deaths.read(), settings.condemned_after_deaths
        )
        local = MemoryCache(settings.local_cache_bytes, timedelta(seconds=settings.local_cache_seconds), now_utc)
        cache = TieredCache(local, RedisCache(self.redis, now_utc))
        self.owned.push_async_callback(cache.drained)
        payer = self._payer(cache, guard)
        admission = Admission(settings.default_model, await self._freshness())
        answering = Answering(guard, admission, cache, payer, publisher, self.failpoints, now_utc)
        # What a dead worker had claimed may be called for only once its lease is over.
        patience_seconds = settings.ledger_lease_seconds + _STEP_SECONDS
        hands = RedisHands(self.redis)
        return Caution(answering.answer, hands, self.deaths, guard.learn, str(uuid7()), patience_seconds)

    def _payer(self, cache: TieredCache, guard: IntakeGuard) -> Payer:
        settings = self.settings
        rules = PayingRules(
            soft_limit=timedelta(seconds=settings.soft_deadline_seconds),
            retries=RetryPolicy.of_seconds(*settings.retry_delays_seconds),
            retry_ambiguous=settings.retry_ambiguous,
            stand_in_lifetime=timedelta(seconds=settings.volatile_ttl_seconds),
            mark_prompts=settings.prompt_cache,
        )
        return Payer(self._ledger(), self._model(), self._gate(), cache, rules, self._paying_tools(guard))

    def _paying_tools(self, guard: IntakeGuard) -> PayingTools:
        cost_usd(self.settings.default_model, Usage())  # the first look-up reads the whole table: not while calls wait
        return PayingTools(
            price=cost_usd,
            lifetime=lifetime_rule(self.settings),
            is_cancelled=guard.is_cancelled,
            now=now_utc,
            new_id=uuid7,
            random=Random(),  # noqa: S311 - jitter
            failpoints=self.failpoints,
            limiter=self._limiter(),
            fallback=FallbackPolicy(self.settings.fallback_models, self.settings.tenant_fallback_models),
            ceiling=ceiling_usd,
        )

    def _limiter(self) -> FairLimiter:
        settings = self.settings
        explicit = Rates(
            settings.limit_requests_per_minute,
            settings.limit_input_tokens_per_minute,
            settings.limit_output_tokens_per_minute,
        )
        rules = BucketRules(
            lambda family: configured_for(family, settings.limits_tier, explicit), settings.limit_burst_seconds
        )
        shared = RedisBuckets(self.redis, rules, str(uuid7()))
        limiter = FairLimiter(SharedOrOwnShare(shared, rules, monotonic), settings.tenant_weights, monotonic)
        self.background.append(limiter.follow)
        self.owned.push_async_callback(limiter.aclose)
        return limiter

    def _gate(self) -> ModelGate:
        rules = GateRules(
            longest_pause=timedelta(seconds=self.settings.longest_pause_seconds),
            refused_pause=timedelta(seconds=self.settings.refused_pause_seconds),
        )
        gate = ModelGate(RedisPauseBoard(self.redis), rules, now_utc)
        self.background.append(gate.follow_board)
        return gate

    async def _freshness(self) -> FreshSince:
        cutoffs = Cutoffs()
        reader = PostgresCutoffs(self.settings.postgres.get_secret_value(), cutoffs)
        # Before the first record: a cache that outlived an invalidation must not answer it.
        await reader.read()
        self.background.append(reader.follow)
        return lambda request, model: cutoffs.fresh_since_ms(request.tenant, request.template, model, request.labels)

    def _cancellations(self) -> Cancellations:
        cancellations = Cancellations(now_utc)
        reader = KafkaControlReader(self.settings.kafka_connection, cancellations.note)
        reader.start()
        self.owned.push_async_callback(reader.close)
        return cancellations

    def _ledger(self) -> Ledger:
        settings = self.settings
        ledger = PostgresLedger(settings.postgres.get_secret_value(), new_owner(), settings.ledger_lease_seconds)
        self.owned.push_async_callback(ledger.aclose)
        self.background.append(partial(ledger.keep_alive, settings.ledger_lease_seconds / 4))
        self.background.append(BudgetWatch(settings.postgres.get_secret_value(), metrics.show_budgets_over).follow)
        return ledger

    def _model(self) -> ClosableModel:
        settings = self.settings
        options = AnthropicOptions(timeout_seconds=settings.hard_deadline_seconds)
        model: ClosableModel
        if settings.model_endpoints:
            rests = RestRules(refused=settings.refused_pause_seconds, longest=settings.longest_pause_seconds)
            model = BalancedModel([_endpoint(one, options) for one in settings.model_endpoints], rests)
        elif settings.model_key is not None:
            model = AnthropicModel(settings.model_key.get_secret_value(), settings.model_url, options)
        else:
            raise MissingKeyError
        self.owned.push_async_callback(model.close)
        return model

    def _redis(self) -> "Redis":
        pool = BlockingConnectionPool.from_url(
            self.settings.redis.get_secret_value(),
            max_connections=_REDIS_CONNECTIONS,
            timeout=_REDIS_TIMEOUT_SECONDS,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        )
        redis = Redis.from_pool(pool)
        self.owned.push_async_callback(redis.aclose)
        return redis


def _endpoint(given: ModelEndpoint, options: AnthropicOptions) -> Endpoint:
    model = AnthropicModel(given.key(), given.base_url, options)
    return Endpoint(given.name, model, given.account or given.name, given.models, given.weight)


def build_engine(
    settings: Settings, lane: Lane, answering: Caution, on_crash: Callable[[BaseException], None]
) -> WorkerApp:
    """One lane's Faust app over a Runner of its own; a bug in answering is told to `on_crash`."""
    committer = FaustOffsetCommitter()
    limits = RunnerLimits(settings.max_in_flight, settings.max_in_flight_bytes, settings.batch_records)
    runner = Runner(answering.answer, committer, limits, on_crash)
    _watch(runner, lane)
    engine = EngineSettings(
        connection=settings.kafka_connection,
        group=f"headrace-worker-{lane}",
        topic=REQUEST_TOPIC_OF_LANE[lane],
        data_dir=settings.home / "faust" / f"{lane}-{settings.worker_name or 'worker'}",
        member=f"{settings.worker_name}-{lane}" if settings.worker_name else None,
        session_timeout_seconds=settings.session_timeout_seconds,
        commit_interval_seconds=settings.commit_interval_seconds,
        drain_seconds=settings.drain_seconds,
        stall_seconds=settings.stall_seconds,
    )
    return make_app(engine, runner, committer, answering)


def _watch(runner: Runner, lane: Lane) -> None:
    gauges: tuple[tuple[Gauge, str], ...] = (
        (metrics.IN_FLIGHT, "in_flight"),
        (metrics.IN_FLIGHT_BYTES, "in_flight_bytes"),
        (metrics.ASSIGNED_PARTITIONS, "partitions"),
        (metrics.LATE_COMPLETIONS, "late_completions"),
    )
    for gauge, attribute in gauges:
        gauge.labels(lane).set_function(partial(getattr, runner, attribute))
