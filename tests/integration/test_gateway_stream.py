"""Results as server-sent events over a real HTTP server and broker: filtered, resumed, to the end of a request."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from confluent_kafka import Producer

from ops.topics import apply_topics
from producers.gateway.app import gateway_app
from producers.gateway.callers import Caller, KeyId
from producers.gateway.problems import Problem
from producers.gateway.stream_routes import stream_routes
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.topics import RESULTS
from streams.feed.feed import LiveFeed
from streams.feed.hub import Hub
from streams.feed.kafka_past import KafkaPast
from streams.feed.kafka_reader import KafkaResultsReader
from streams.feed.positions import EventIds
from streams.feed.ring import Ring
from tests.feeds import Seen, frames_in, ids_in
from tests.gateway import serving
from tests.sinks import a_result

IDS = EventIds(b"a secret of sixteen bytes")


class Keys:
    async def caller_of(self, secret: str) -> Caller | None:
        return Caller(KeyId(secret), secret, frozenset({"read"}))


@dataclass
class Statuses:
    """Stands where the status of a request is looked up."""

    known: dict[tuple[str, UUID], str] = field(default_factory=dict)

    async def status(self, tenant: str, request_id: UUID) -> Mapping[str, Any]:
        if (tenant, request_id) not in self.known:
            raise Problem(404, "request_unknown", "there is no such request", "Check the id.")
        return {"status": self.known[tenant, request_id]}


@dataclass
class Front:
    client: httpx2.AsyncClient
    tenant: str
    statuses: Statuses
    producer: Producer
    feed: LiveFeed

    def publish(self, request_id: UUID | None = None, *, tenant: str | None = None, **given: Any) -> str:
        result = a_result(request_id or uuid7(), tenant=tenant or self.tenant, **given)
        record = encode_result(result)
        self.producer.produce(RESULTS, record.value, record.key, headers=list(record.headers))
        assert self.producer.flush(30) == 0
        return str(result.request_id)

    @asynccontextmanager
    async def stream(self, path: str = "/v1/results/stream", last_id: str | None = None) -> AsyncIterator["Stream"]:
        headers = {} if last_id is None else {"last-event-id": last_id}
        async with self.client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield Stream(answer.aiter_bytes())


class Stream:
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.frames: list[Seen] = []

    async def until(self, results: int) -> list[str]:
        """The request ids once so many results have come."""
        async with asyncio.timeout(30):
            while len(ids_in(self.frames)) < results:
                await self.more()
        return ids_in(self.frames)

    async def more(self) -> bool:
        piece = await anext(self._pieces, None)
        if piece is None:
            return False
        whole, _, self._rest = (self._rest + piece).rpartition(b"\n\n")
        self.frames += frames_in(whole)
        return True

    @property
    def last_id(self) -> str:
        return [each.id for each in self.frames if each.id is not None][-1]


@asynccontextmanager
async def a_copy(kafka: str, tenant: str, ring_events: int = 1000) -> AsyncIterator[Front]:
    """One copy of the gateway."""
    apply_topics(kafka, 1)
    hub = Hub(Ring(ring_events), IDS)
    feed, statuses = LiveFeed(hub, IDS, KafkaPast(kafka)), Statuses()
    reader = KafkaResultsReader(kafka, hub.ring.begin, hub.take)
    reader.start()
    assert await reader.await_ready(30)
    try:
        async with (
            serving(gateway_app([stream_routes(feed, feed, statuses, Keys())])) as url,
            httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {tenant}"}, timeout=60) as client,
        ):
            yield Front(client, tenant, statuses, Producer({"bootstrap.servers": kafka}), feed)
            hub.close()
    finally:
        await reader.close()


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


async def test_a_tenants_results_come_as_they_are_published_and_no_other_tenants(kafka: str, tenant: str) -> None:
    async with a_copy(kafka, tenant) as front, front.stream() as stream:
        await stream.more()
        front.publish(tenant=f"{tenant}-2")
        ids = [front.publish() for _ in range(5)]
        assert sorted(await stream.until(5)) == sorted(ids)


async def test_filters_choose(kafka: str, tenant: str) -> None:
    path = "/v1/results/stream?label=site:osl&label=role:core&user=u-1&status=failed"
    async with a_copy(kafka, tenant) as front, front.stream(path) as stream:
        await stream.more()
        labels = {"site": "osl", "role": "core"}
        others: list[dict[str, Any]] = [{"labels": {"site": "osl"}}, {"user_id": "u-2"}, {"status": "completed"}]
        for other in others:
            given: dict[str, Any] = {"labels": labels, "user_id": "u-1", "status": "failed", **other}
            front.publish(None, **given)
        wanted = front.publish(labels=labels, user_id="u-1", status="failed")
        assert await stream.until(1) == [wanted]


async def test_a_stream_goes_on_from_the_ring_and_from_kafka_at_any_copy(kafka: str, tenant: str) -> None:
    async with a_copy(kafka, tenant, ring_events=3) as one:
        async with one.stream() as stream:
            await stream.more()
            first = one.publish()
            assert await stream.until(1) == [first]
            last_id = stream.last_id
        missed = [one.publish() for _ in range(20)]
        async with one.stream(last_id=last_id) as stream:
            seen = await stream.until(20)
            live = one.publish()
            assert (await stream.until(21))[-1] == live
        assert sorted(seen) == sorted(missed)
        async with a_copy(kafka, tenant) as other, other.stream(last_id=last_id) as stream:
            assert sorted(await stream.until(21)) == sorted([*missed, live])


@pytest.mark.parametrize("forged", ["AAAA", "nonsense!", "x" * 300])
async def test_a_forged_event_id_is_refused(kafka: str, tenant: str, forged: str) -> None:
    async with a_copy(kafka, tenant) as front:
        answer = await front.client.get("/v1/results/stream", headers={"last-event-id": forged})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_event_id")


async def test_another_tenants_event_id_is_refused(kafka: str, tenant: str) -> None:
    async with a_copy(kafka, tenant) as front:
        async with front.stream() as stream:
            await stream.more()
            theirs = {"last-event-id": stream.last_id, "authorization": f"Bearer {tenant}-2"}
        answer = await front.client.get("/v1/results/stream", headers=theirs)
        assert answer.status_code == 400


async def test_one_requests_steps_are_told_to_its_end(kafka: str, tenant: str) -> None:
    request_id = uuid7()
    async with a_copy(kafka, tenant) as front:
        front.statuses.known[tenant, request_id] = "pending"
        path = f"/v1/requests/{request_id}/events"
        async with front.stream(path) as stream:
            await stream.more()
            front.statuses.known[tenant, request_id] = "processing"
            async with asyncio.timeout(30):
                while len(stream.frames) < 2:
                    await stream.more()
                front.publish(request_id)
                while await stream.more():
                    pass
        assert [each.data["status"] for each in stream.frames] == ["pending", "processing", "completed"]
        front.statuses.known[tenant, request_id] = "completed"
        again = await front.client.get(path, headers={"last-event-id": stream.last_id})
        assert again.status_code == 204
        async with front.stream(path, last_id="processing") as stream:
            while await stream.more():
                pass
        assert [each.data["status"] for each in stream.frames] == ["completed"]


async def test_a_request_of_another_tenant_has_no_events(kafka: str, tenant: str) -> None:
    async with a_copy(kafka, tenant) as front:
        answer = await front.client.get(f"/v1/requests/{uuid7()}/events")
        assert answer.status_code == 404


async def test_streams_that_clients_left_are_forgotten(kafka: str, tenant: str) -> None:
    async with a_copy(kafka, tenant) as front:
        for _ in range(3):
            async with front.stream() as stream:
                await stream.more()
        async with asyncio.timeout(30):
            while front.feed.subscribers:
                front.publish()
                await asyncio.sleep(0.1)


async def test_whoever_waits_gets_the_result_from_the_topic(kafka: str, tenant: str) -> None:
    request_id = uuid7()
    async with a_copy(kafka, tenant) as front:
        with front.feed.expecting(tenant, request_id) as expected:
            front.publish(request_id)
            result = await expected.result(30)
    assert result is not None
    assert result.request_id == request_id
