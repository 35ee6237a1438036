"""The gateway's bulk and stream routes over real servers, as a process: `python -m ops.bench.gateway_stand FILE`.

For measuring and for faults: FILE names its keys and port as JSON; no single request has a status.
"""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from producers.gateway.app import gateway_app
from producers.gateway.bulk_intake import BulkIntake, IntakePorts
from producers.gateway.bulk_routes import bulk_routes
from producers.gateway.callers import Caller, KeyId
from producers.gateway.ids import SignedIds
from producers.gateway.problems import Problem
from producers.gateway.stream_routes import stream_routes
from producers.kafka_publisher import KafkaPublisher
from streams.bulk_jobs.postgres_jobs import PostgresJobs
from streams.feed_wiring import bulk_desk, feed_parts
from streams.settings import Settings

_CONNECTIONS: Final = 4
_DELIVERY_SECONDS: Final = 30.0


class FixedKeys:
    """A KeyRing of one key per tenant."""

    def __init__(self, tenants: Mapping[str, str]) -> None:
        self._callers = {
            secret: Caller(KeyId(tenant), tenant, frozenset({"submit", "read"})) for secret, tenant in tenants.items()
        }

    async def caller_of(self, secret: str) -> Caller | None:
        """See KeyRing."""
        return self._callers.get(secret)


class NoStatus:
    """Knows no single request."""

    async def status(self, tenant: str, request_id: UUID) -> Mapping[str, Any]:
        """See StatusSource."""
        del tenant
        raise Problem(404, "request_unknown", "there is no such request", "Check the id.", request_id=request_id)


def application(settings: Settings, keys: FixedKeys, secret: bytes) -> FastAPI:
    """Everything is opened and closed by its lifespan."""
    ids = SignedIds(secret)
    publisher = KafkaPublisher(settings.kafka_connection, delivery_timeout_seconds=_DELIVERY_SECONDS)
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        settings.postgres.get_secret_value(),
        min_size=1,
        max_size=_CONNECTIONS,
        kwargs={"prepare_threshold": None, "application_name": "headrace-gateway"},
        open=False,
    )
    feed = feed_parts(settings.kafka_connection, secret)
    intake = BulkIntake(IntakePorts(ids, PostgresJobs(pool), publisher, settings.default_model))
    desk = bulk_desk(pool, ids, publisher, lambda: datetime.now(UTC))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await pool.open()
        feed.reader.start()
        try:
            yield
        finally:
            await feed.close()
            await publisher.close()
            await pool.close()

    routes = [bulk_routes(intake, desk, keys), stream_routes(feed.feed, feed.feed, NoStatus(), keys)]
    return gateway_app(routes, lifespan)


def main() -> None:
    """Serve until a signal comes."""
    from ops.bench.gateway_server import serve

    told = json.loads(Path(sys.argv[1]).read_text())
    serve(application(Settings(), FixedKeys(told["keys"]), told["secret"].encode()), told["port"])


if __name__ == "__main__":
    main()
