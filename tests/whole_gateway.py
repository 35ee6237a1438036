"""Every route of the gateway over memory adapters, two tenants on it: what one has, the other must not see."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from producers.gateway.app import gateway_app
from producers.gateway.bulk_book import NoLines
from producers.gateway.lookup import StoredRequest
from streams.bulk_jobs.memory_jobs import MemoryJobs
from streams.feed.feed import LiveFeed
from streams.feed.hub import Hub
from streams.feed.memory_past import MemoryPast
from streams.feed.positions import EventIds
from streams.feed.ring import Ring
from streams.gateway_wiring import BulkPorts, routers_of
from tests.feeds import an_event
from tests.gateway_parts import Parts

EVENT_IDS = EventIds(b"a secret of a test of feeds")


@dataclass
class WholeGateway:
    """All routers on one application."""

    parts: Parts = field(default_factory=Parts)
    hub: Hub = field(default_factory=lambda: Hub(Ring(1000), EVENT_IDS))

    def app(self) -> FastAPI:
        self.hub.ring.begin([0])
        feed = LiveFeed(self.hub, EVENT_IDS, MemoryPast(1))
        bulk = BulkPorts(MemoryJobs(self.parts.clock), NoLines(), self.parts.publisher)
        return gateway_app(routers_of(replace(self.parts.ports(), waiter=feed, feed=feed, bulk=bulk)))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(self.app(), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client

    def publish_result(self, offset: int, tenant: str, **given: Any) -> None:
        """As if it had come from the topic."""
        self.hub.take([an_event(0, offset, tenant, **given)])

    async def followed_by(self, followers: int) -> None:
        async with asyncio.timeout(20):
            while len(self.hub) < followers:  # noqa: ASYNC110 - the hub tells nobody
                await asyncio.sleep(0.01)


def a_row(request_id: UUID, tenant: str, **fields: Any) -> StoredRequest:
    """A request as the sinks wrote it."""
    usual: dict[str, Any] = {"status": "completed", "labels": {}, "accepted_at": datetime.now(UTC)}
    absent = dict.fromkeys(("department", "user_id", "application", "template", "lane"))
    return StoredRequest(request_id=request_id, tenant=tenant, **{**absent, **usual, **fields})
