"""The composition root of the gateway: which adapter stands behind which port."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, FastAPI

from producers.gateway.app import gateway_app
from producers.gateway.budgets import BudgetCheck
from producers.gateway.bulk_book import JobLines, JobStore
from producers.gateway.bulk_desk import BulkDesk, DeskPorts
from producers.gateway.bulk_intake import BulkIntake, IntakePorts
from producers.gateway.bulk_routes import bulk_routes
from producers.gateway.callers import Caller, KeyId, KeyRing
from producers.gateway.cancelling import Canceller
from producers.gateway.device_desk import DeviceDesk
from producers.gateway.device_routes import device_health_routes, device_routes
from producers.gateway.feed import ResultFeed
from producers.gateway.front_desk import FrontDesk
from producers.gateway.health import Health
from producers.gateway.health_routes import document_routes, health_routes
from producers.gateway.idempotency import IdempotencyStore
from producers.gateway.ids import SignedIds
from producers.gateway.load import Load
from producers.gateway.lookup import RequestLookup
from producers.gateway.quotas import NoQuotas, Quotas
from producers.gateway.request_routes import request_routes
from producers.gateway.status import StatusDesk
from producers.gateway.stream_routes import stream_routes
from producers.gateway.submit_routes import submit_routes
from producers.gateway.submitting import Submitter
from producers.gateway.waiting import ResultWaiter
from producers.kafka_access import require_access
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import Publisher
from schemas.topics import REQUEST_TOPIC_OF_LANE, RESULTS, Lane
from streams import metrics
from streams.access_wiring import build_access, intake_rules
from streams.background import Background
from streams.bulk_jobs.postgres_jobs import PostgresJobs
from streams.bulk_jobs.postgres_lines import PostgresLines
from streams.feed_wiring import bulk_pool, feed_parts
from streams.framing import frame_of
from streams.gateway.kafka_backlog import KafkaBacklogReader
from streams.gateway.local_keys import LocalKeys
from streams.gateway.postgres_idempotency import PostgresIdempotency
from streams.gateway.postgres_lookup import PostgresLookup
from streams.gateway.postgres_queues import PostgresQueues
from streams.gateway.postgres_spent import PostgresSpentBudgets
from streams.gateway.queue_load import Backlog, Limits, QueueLoad
from streams.logs import logger_named
from streams.settings import Settings

log = logger_named("gateway")

Crash = Callable[[BaseException], None]

# A caller waits for it: much shorter than for a worker's results.
_QUICK: dict[str, Any] = {"linger.ms": 2, "client.id": "headrace-gateway"}
_IN_BULK: dict[str, Any] = {"linger.ms": 20, "client.id": "headrace-gateway-bulk"}
_BULK_CONFIRM_SECONDS = 30.0


class MissingSecretError(Exception):
    """The gateway's secret is not set; the message says how."""


@dataclass(frozen=True, slots=True)
class BulkPorts:
    """What bulk jobs stand on beside the rest; a publisher of their own keeps a large upload out of others' way."""

    jobs: JobStore
    lines: JobLines
    publisher: Publisher


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that routes stand on."""

    ids: SignedIds
    publisher: Publisher
    keys: KeyRing
    quotas: Quotas
    budgets: BudgetCheck
    waiter: ResultWaiter
    feed: ResultFeed
    bulk: BulkPorts
    idempotency: IdempotencyStore
    lookup: RequestLookup
    load: Load
    health: Health
    default_model: str
    anonymous: Caller | None = None


def routers_of(ports: Ports) -> list[APIRouter]:
    """All routes of the gateway, each over its service."""
    submitter = Submitter(ports.ids, ports.publisher, ports.idempotency, ports.budgets, ports.load, ports.default_model)
    desk = StatusDesk(ports.ids, ports.lookup, _now)
    front = FrontDesk(submitter, ports.quotas, ports.waiter, desk)
    devices = DeviceDesk(front, submitter, desk)
    bulk = ports.bulk
    intake = BulkIntake(
        IntakePorts(ports.ids, bulk.jobs, bulk.publisher, ports.default_model, ports.quotas, ports.budgets, ports.load)
    )
    jobs = BulkDesk(DeskPorts(ports.ids, bulk.jobs, bulk.jobs, bulk.lines, ports.publisher, _now))
    return [
        submit_routes(front, ports.keys),
        request_routes(desk, Canceller(ports.publisher, desk, _now), ports.keys, ports.quotas),
        bulk_routes(intake, jobs, ports.keys, ports.quotas),
        stream_routes(ports.feed, ports.waiter, desk, ports.keys, ports.quotas),
        device_routes(devices, ports.keys, ports.anonymous, ports.quotas),
        device_health_routes(ports.health),
        health_routes(ports.health, metrics.exposition),
        document_routes(),
    ]


class GatewayParts:
    """One gateway's adapters, built once, opened and closed together.

    Raises MissingSecretError, PepperUnsetError, KafkaRefusedError.
    """

    def __init__(self, settings: Settings) -> None:
        secret, self.owned = _secret(settings), AsyncExitStack()
        require_access(settings.kafka_connection, [RESULTS, *REQUEST_TOPIC_OF_LANE.values()])
        postgres = settings.postgres.get_secret_value()
        self.settings = settings
        self.ids = SignedIds(secret)
        self.keys, self.quotas = _access(settings, self.owned)
        self.load = QueueLoad(Limits(settings.gateway_waiting_limit, settings.gateway_tenant_share), time.monotonic)
        self.queues = PostgresQueues(postgres, self.load.is_pressed, self.load.note_tenants)
        self.publisher, bulk_publisher = _publisher(settings), _bulk_publisher(settings)
        self.feed, self.pool = feed_parts(settings.kafka_connection, secret), bulk_pool(postgres)
        self.bulk = BulkPorts(PostgresJobs(self.pool), PostgresLines(self.pool), bulk_publisher)
        self.idempotency = PostgresIdempotency(postgres)
        self.budgets = PostgresSpentBudgets(postgres, _now)
        self.lookup = PostgresLookup((settings.postgres_replica or settings.postgres).get_secret_value())

    def ports(self) -> Ports:
        """What routes stand on."""
        return Ports(
            ids=self.ids,
            publisher=self.publisher,
            keys=self.keys,
            quotas=self.quotas,
            budgets=self.budgets,
            waiter=self.feed.feed,
            feed=self.feed.feed,
            bulk=self.bulk,
            idempotency=self.idempotency,
            lookup=self.lookup,
            load=self.load,
            health=Health({"kafka": lambda: self.load.broker_problem}, {"postgres": lambda: self.queues.problem}),
            default_model=self.settings.default_model,
            anonymous=_anonymous(self.settings),
        )

    @asynccontextmanager
    async def running(self, on_crash: Crash) -> AsyncIterator[None]:
        """Work in the background goes on within the block; after it everything is closed, streams first."""
        load = self.load
        backlog = KafkaBacklogReader(
            self.settings.kafka_connection, lambda seen: _note(load, seen), load.note_broker_away
        )
        background = Background(on_crash)
        backlog.start()
        self.feed.reader.start()
        await self.pool.open()
        for work in (self.queues.follow, self.budgets.follow, self.idempotency.forget_expired):
            background.start(work)
        try:
            yield
        finally:
            await self.feed.close()
            for publisher in (self.bulk.publisher, self.publisher):
                await publisher.close()
            await self.pool.close()
            await background.aclose()
            await backlog.close()
            for adapter in (self.queues, self.idempotency, self.budgets, self.lookup, self.owned):
                await adapter.aclose()


def build_gateway(settings: Settings, on_crash: Crash) -> FastAPI:
    """The application on the real servers, which it reaches once it is started. Raises as GatewayParts does."""
    parts = GatewayParts(settings)
    return gateway_app(routers_of(parts.ports()), lambda _: parts.running(on_crash), _observe, intake_rules(settings))


def _publisher(settings: Settings) -> KafkaPublisher:
    return KafkaPublisher(
        settings.kafka_connection,
        delivery_timeout_seconds=settings.gateway_confirm_seconds,
        frame=frame_of(settings),
        **_QUICK,
    )


def _access(settings: Settings, owned: AsyncExitStack) -> tuple[KeyRing, Quotas]:
    """Keys of the store and quotas; on one machine without a pepper, the one key of its settings."""
    if settings.key_pepper is None and settings.gateway_key is not None:
        return LocalKeys(settings.gateway_key.get_secret_value()), NoQuotas()
    return build_access(settings, owned)


def _bulk_publisher(settings: Settings) -> KafkaPublisher:
    """Patient, and in large batches: nobody waits for a single item."""
    return KafkaPublisher(
        settings.kafka_connection,
        delivery_timeout_seconds=_BULK_CONFIRM_SECONDS,
        frame=frame_of(settings),
        **_IN_BULK,
    )


def _secret(settings: Settings) -> bytes:
    if settings.gateway_secret is not None:
        return settings.gateway_secret.get_secret_value().encode()
    if settings.environment == "production":
        raise MissingSecretError("HEADRACE_GATEWAY_SECRET is not set: 16 bytes or more, the same for every copy")
    log.warning("gateway_secret_made_up", next_step="set HEADRACE_GATEWAY_SECRET where more than one copy runs")
    return secrets.token_bytes(32)


def _anonymous(settings: Settings) -> Caller | None:
    tenant = settings.gateway_anonymous_tenant
    return None if tenant is None else Caller(KeyId("anonymous"), tenant, frozenset({"submit", "read"}))


def _note(load: QueueLoad, seen: Mapping[Lane, Backlog]) -> None:
    load.note_backlogs(seen)
    for lane, backlog in seen.items():
        metrics.GATEWAY_WAITING.labels(lane).set(backlog.waiting)


def _observe(route: str, status: int, seconds: float) -> None:
    metrics.GATEWAY_SECONDS.labels(route, status).observe(seconds)


def _now() -> datetime:
    return datetime.now(UTC)
