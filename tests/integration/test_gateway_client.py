"""The gateway's clients, the threaded and the asynchronous one, against its routes on a real HTTP server."""

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from producers.client import (
    AsyncGatewayClient,
    CallRefusedError,
    ConflictError,
    GatewayClient,
    GatewayUnreachableError,
    KeyRefusedError,
    Patience,
    TooManyRequestsError,
    UnknownIdError,
    UploadProgress,
)
from producers.gateway.load import NoLoad, Overload
from producers.uuid7 import uuid7
from schemas.topics import Lane
from tests.cutting_proxy import CuttingProxy
from tests.gateway import serving
from tests.gateway_parts import ACME_KEY, IDS
from tests.whole_gateway import WholeGateway, a_row

pytestmark = pytest.mark.slow

PATIENT = Patience(attempts=40, total_seconds=60, first_pause_seconds=0.02, longest_pause_seconds=0.1)
Client = GatewayClient | AsyncGatewayClient
KINDS = [GatewayClient, AsyncGatewayClient]


async def asked(client: Client, name: str, *given: Any, **named: Any) -> Any:
    """The outcome of a method of either client; of an iterator, all of it."""
    method = getattr(client, name)
    if isinstance(client, GatewayClient):
        return await asyncio.to_thread(lambda: _whole(method(*given, **named)))
    outcome = method(*given, **named)
    if isinstance(outcome, AsyncIterator):
        return [each async for each in outcome]
    return await outcome if inspect.isawaitable(outcome) else outcome


def _whole(outcome: Any) -> Any:
    return list(outcome) if isinstance(outcome, Iterator) else outcome


@dataclass
class FullAtFirst(NoLoad):
    """Refuses so many requests, then takes them."""

    refusals: int = 1
    asked: int = 0

    def overload(self, tenant: str, lane: Lane) -> Overload | None:
        del tenant, lane
        self.asked += 1
        return Overload("tenant_backlog", 0.1) if self.asked <= self.refusals else None


@dataclass
class Place:
    """A gateway that listens, and clients of it."""

    url: str
    whole: WholeGateway
    made: list[Client] = field(default_factory=list)

    def client(self, kind: type[Client], url: str | None = None, **options: Any) -> Any:
        client = kind(url or self.url, **{"key": ACME_KEY, "patience": PATIENT, **options})
        self.made.append(client)
        return client

    @property
    def published(self) -> list[Any]:
        return [json.loads(record.value or b"") for record in self.whole.parts.publisher.records]


@asynccontextmanager
async def a_place(**others: Any) -> AsyncIterator[Place]:
    whole = WholeGateway()
    whole.parts.others.update(others)
    async with serving(whole.app()) as url:
        place = Place(url, whole)
        yield place
        for client in place.made:
            if isinstance(client, GatewayClient):
                client.close()
            else:
                await client.close()
        whole.hub.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_is_submitted_told_listed_and_cancelled(kind: type[Client]) -> None:
    async with a_place() as place:
        client = place.client(kind)
        submitted = await asked(client, "submit", prompt="Why?", user_id="ana", labels={"site": "ams"}, lane="bulk")
        (published,) = place.published
        assert (published["request_id"], published["tenant"]) == (str(submitted.request_id), "acme")
        assert (submitted.lane, submitted.repeated, submitted.ended) == ("bulk", False, None)
        assert (await asked(client, "status", submitted.request_id)).status == "pending"
        await asked(client, "cancel", submitted.request_id)
        row = a_row(submitted.request_id, "acme", cost_usd=None, answer="Because.", user_id="ana")
        place.whole.parts.lookup.put(row)
        ended = await asked(client, "wait", submitted.request_id, timeout_seconds=30)
        assert (ended.status, ended.answer.text) == ("completed", "Because.")
        with pytest.raises(ConflictError) as refused:
            await asked(client, "cancel", submitted.request_id)
        assert (refused.value.code, refused.value.request_id) == ("already_ended", submitted.request_id)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_goes_through_all_pages(kind: type[Client]) -> None:
    async with a_place() as place:
        rows = [a_row(IDS.new("acme"), "acme", user_id="ana" if n % 2 else "bo") for n in range(130)]
        for row in [*rows, a_row(IDS.new("globex"), "globex", user_id="ana")]:
            place.whole.parts.lookup.put(row)
        found = await asked(place.client(kind), "list_requests", user="ana", since=datetime(2020, 1, 1, tzinfo=UTC))
        assert sorted(each.request_id for each in found) == sorted(
            row.request_id for row in rows if row.user_id == "ana"
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_quick_comes_with_the_submission(kind: type[Client]) -> None:
    async with a_place() as place:
        submitting = asyncio.ensure_future(asked(place.client(kind), "submit", prompt="Why?", wait_seconds=30))
        async with asyncio.timeout(20):
            while not place.published:  # noqa: ASYNC110 - a memory publisher tells nobody
                await asyncio.sleep(0.01)
        request_id = UUID(place.published[0]["request_id"])
        place.whole.publish_result(0, "acme", request_id=request_id)
        submitted = await submitting
        assert submitted.request_id == submitted.ended.request_id == request_id
        assert submitted.ended.status == "completed"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_with_retry_after_is_waited_for(kind: type[Client]) -> None:
    load = FullAtFirst(refusals=1)
    async with a_place(load=load) as place:
        await asked(place.client(kind), "submit", prompt="Why?")
        assert (load.asked, len(place.published)) == (2, 1)
        load.refusals = 10
        with pytest.raises(TooManyRequestsError) as refused:
            await asked(place.client(kind, patience=Patience(attempts=1)), "submit", prompt="Why?")
        assert (refused.value.code, refused.value.retry_after_seconds) == ("tenant_backlog", 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_lost_on_the_way_is_asked_for_again_and_nothing_doubles(kind: type[Client]) -> None:
    # The first connections are cut within the answer: the gateway has accepted, the client cannot know.
    async with a_place() as place, CuttingProxy(place.url, [20, 0, 100]) as proxy:
        client = place.client(kind, proxy.url)
        submitted = await asked(client, "submit", prompt="Why?")
        assert proxy.cut == 3
        assert submitted.repeated
        assert [each["request_id"] for each in place.published] == [str(submitted.request_id)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_cut_anywhere_has_each_result_once(kind: type[Client]) -> None:
    ids = [uuid7() for _ in range(24)]
    async with a_place() as place, CuttingProxy(place.url, [700, 900, 2000, 2600, 1, 3300]) as proxy:
        client = place.client(kind, proxy.url)
        first = asyncio.ensure_future(_followed(client, len(ids)))
        await place.whole.followed_by(1)
        for number, request_id in enumerate(ids):
            place.whole.publish_result(number, "acme", request_id=request_id)
            place.whole.publish_result(number, "globex")
            await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            assert await first == ids
        assert proxy.cut == 6


async def _followed(client: Client, count: int) -> list[UUID]:
    def in_thread() -> list[UUID]:
        assert isinstance(client, GatewayClient)
        with client.stream() as results:
            return [next(results).result.request_id for _ in range(count)]

    if isinstance(client, GatewayClient):
        return await asyncio.to_thread(in_thread)
    async with client.stream() as results:
        return [(await anext(results)).result.request_id for _ in range(count)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bulk_upload_that_is_cut_goes_on_and_accepts_each_item_once(kind: type[Client], tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    lines = [json.dumps({"prompt": f"Question {n}", "labels": {"n": str(n)}}) for n in range(3000)]
    file.write_text("\n".join([*lines, "no json"]) + "\n")
    seen: list[UploadProgress] = []
    async with a_place() as place, CuttingProxy(place.url, [], sent_limits=[50_000, 120_000]) as proxy:
        client = place.client(kind, proxy.url)
        receipt = await asked(client, "bulk", file, on_progress=seen.append)
        assert proxy.cut == 2
        assert (receipt.items, receipt.accepted, receipt.rejected, receipt.state) == (3001, 3000, 1, "sealed")
        assert len({each["request_id"] for each in place.published}) == 3000
        assert seen[-1].sent_bytes == seen[-1].total_bytes == file.stat().st_size
        verdicts = await asked(client, "bulk_verdicts", receipt.id)
        assert [each.item for each in verdicts] == list(range(1, 3002))
        (bad,) = await asked(client, "bulk_verdicts", receipt.id, status="rejected")
        assert (bad.item, bad.line) == (3001, 3001)
        status = await asked(client, "bulk_cancel", receipt.id)
        assert status.state == "cancelled" or status.accepted == 3000
        assert (await asked(client, "bulk_status", receipt.id)).items == 3001
        assert await asked(client, "bulk_results", receipt.id) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_requests_from_an_iterator_are_a_job_too(kind: type[Client]) -> None:
    async with a_place() as place:
        client = place.client(kind)
        key = str(uuid4())
        receipts = [
            await asked(client, "bulk", ({"prompt": f"Q{n}"} for n in range(10)), idempotency_key=key) for _ in "ab"
        ]
        assert receipts[0].id == receipts[1].id
        assert len(place.published) == receipts[0].accepted == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_refusals_are_typed_and_show_neither_key_nor_prompt(
    kind: type[Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_place() as place:
        client = place.client(kind)
        with pytest.raises(CallRefusedError, match="colour") as refused:
            await asked(client, "submit", prompt="my secret question", colour="red")
        with pytest.raises(UnknownIdError):
            await asked(client, "status", uuid4())
        with pytest.raises(KeyRefusedError) as unknown:
            await asked(place.client(kind, key="hr_not-a-key-of-anybody"), "status", uuid4())
        told = "".join([caplog.text, repr(client), str(refused.value), str(unknown.value), repr(unknown.value)])
        assert not any(secret in told for secret in (ACME_KEY, "hr_not-a-key-of-anybody", "my secret question"))
    impatient = kind(place.url, key=ACME_KEY, patience=Patience(attempts=2, first_pause_seconds=0.01))
    with pytest.raises(GatewayUnreachableError) as away:
        await asked(impatient, "status", uuid4())
    assert ACME_KEY not in str(away.value)
    await asked(impatient, "close")


async def test_the_library_is_told_every_timeout() -> None:
    client = AsyncGatewayClient("http://127.0.0.1:9", key=ACME_KEY)
    seen: list[dict[str, float]] = []

    class Watching(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            seen.append(request.extensions["timeout"])
            return httpx2.Response(404, json={})

    await client.close()
    async with AsyncGatewayClient("http://127.0.0.1:9", key=ACME_KEY, transport=Watching()) as watched:
        for wait_seconds in (0, 20):
            with pytest.raises(UnknownIdError):
                await watched.submit(prompt="Why?", wait_seconds=wait_seconds)
    assert [each["read"] for each in seen] == [30, 50]
    assert all(each[name] for each in seen for name in ("connect", "write", "pool"))
