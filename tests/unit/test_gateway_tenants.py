"""Two tenants on one gateway: nothing of the one is seen, counted, ended or guessed by the other. Class 2.

Routes are taken from the application itself: one that is added without an entrance fails here, and one that takes an id
is asked for another tenant's.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi.routing import APIRoute

from producers.gateway.callers import SCOPES
from producers.gateway.quotas import NoQuotas, QuotaAsk, QuotaVerdict
from producers.uuid7 import uuid7
from tests.feeds import frames_in, ids_in
from tests.gateway_parts import ACME, ACME_KEY, GLOBEX, IDS, Parts
from tests.sample_gateway import OPEN_ROUTES, entrances_of, routes_of, routes_without_entrance
from tests.whole_gateway import WholeGateway, a_row

SECRET = "acmes-own-words"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ASKED = {"prompt": SECRET, "user_id": SECRET, "labels": {"site": SECRET}}

DEVICE = {"device_name": "edge-7", "requirements": "two VLANs"}

ROUTES = [route for route in routes_of(WholeGateway().app()) if isinstance(route, APIRoute)]
GUARDED = [
    (method, route.path) for route in ROUTES if route.path not in OPEN_ROUTES for method in sorted(route.methods or ())
]
WITH_ID = [(method, path) for method, path in GUARDED if "{" in path]
LISTS = [path for method, path in GUARDED if method == "GET" and "{" not in path and "stream" not in path]


@dataclass
class Acme:
    """What one tenant has on the gateway."""

    gateway: WholeGateway
    client: httpx2.AsyncClient
    given: UUID
    """A request that no store has yet."""
    written: UUID
    job: UUID

    @property
    def ids(self) -> list[UUID]:
        return [self.given, self.written, self.job, IDS.line("acme", self.job, 1)]


@pytest.fixture
async def acme() -> AsyncIterator[Acme]:
    gateway = WholeGateway()
    async with gateway.running() as client:
        given = await client.post("/v1/requests", json=ASKED, headers=ACME)
        upload = await client.post("/v1/bulk", content=b'{"prompt": "a"}\nbroken\n', headers=ACME | NDJSON)
        assert (given.status_code, upload.status_code) == (202, 202)
        job = UUID(upload.headers["location"].rpartition("/")[2])
        written = IDS.new("acme")
        words = {"user_id": SECRET, "department": SECRET, "labels": {"device_name": SECRET}, "answer": SECRET}
        gateway.parts.lookup.put(a_row(written, "acme", **words))
        yield Acme(gateway, client, UUID(given.json()["request_id"]), written, job)


def at(path: str, identity: UUID) -> str:
    return re.sub(r"\{\w+\}", str(identity), path)


def body_of(method: str) -> dict[str, Any]:
    return {"content": b"{}", "headers": JSON} if method in {"POST", "PUT", "PATCH"} else {"headers": {}}


def told_by(answer: httpx2.Response) -> tuple[Any, ...]:
    """Everything that an answer says, but for the id that was asked for."""
    document = answer.json()
    return answer.status_code, document | {"request_id": None, "job": None}, sorted(answer.headers)


def test_there_are_routes_of_every_kind() -> None:
    assert len(GUARDED) >= 15
    assert {"/v1/requests/{request_id}", "/v1/requests/{request_id}/events", "/v1/bulk/{job}"} <= {
        path for _, path in WITH_ID
    }
    assert {"/v1/requests", "/v1/bulk"} <= set(LISTS)


def test_no_route_lets_anybody_in_without_a_key_but_those_that_are_meant_to() -> None:
    assert routes_without_entrance(WholeGateway().app()) == []


def test_whatever_changes_something_asks_for_the_scope_to_submit() -> None:
    for route in ROUTES:
        wanted = {entrance.scope for entrance in entrances_of(route)}
        if route.path not in OPEN_ROUTES:
            assert wanted == ({"read"} if route.methods == {"GET"} else {"submit"}), route.path


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_key_every_route_says_the_same(acme: Acme, method: str, path: str) -> None:
    sent = body_of(method)
    for identity in (acme.written, uuid7()):
        for shown in ({}, {"Authorization": "Bearer hr_wrong"}):
            sent["headers"] = {**sent["headers"], **shown}
            answer = await acme.client.request(method, at(path, identity), **sent)
            assert (answer.status_code, answer.json()["code"]) == (401, "key_invalid")
            assert SECRET not in answer.text


class Counting(NoQuotas):
    """Refuses every call, and knows of each."""

    def __init__(self) -> None:
        self.asks: list[QuotaAsk] = []

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        self.asks.append(ask)
        return QuotaVerdict(allowed=False, retry_after_seconds=100.0, refused_by="key_rate")


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_every_call_is_counted_once_and_no_more_than_that(method: str, path: str) -> None:
    counting = Counting()
    gateway = WholeGateway(Parts(others={"quotas": counting}))
    sent: dict[str, Any] = {"headers": ACME}
    if method == "POST":
        body = {"prompt": "a"} if path.startswith("/v1") else {"requests": [DEVICE]} if "bulk" in path else DEVICE
        sent |= {"content": json.dumps(body).encode(), "headers": ACME | (NDJSON if path == "/v1/bulk" else JSON)}
    async with gateway.running() as client:
        answer = await client.request(method, at(path, IDS.new("acme")), **sent)
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert [(ask.caller.tenant, ask.address) for ask in counting.asks] == [("acme", "127.0.0.1")]
    assert gateway.parts.publisher.records == []


@pytest.mark.parametrize(("method", "path"), WITH_ID)
async def test_another_tenants_id_is_as_good_as_none(acme: Acme, method: str, path: str) -> None:
    published = len(acme.gateway.parts.publisher.records)
    sent = body_of(method)
    answers = [
        await acme.client.request(method, at(path, identity), **{**sent, "headers": GLOBEX | sent["headers"]})
        for identity in (uuid7(), *acme.ids)
    ]
    assert answers[0].status_code == 404
    assert all(told_by(answer) == told_by(answers[0]) for answer in answers)
    assert len(acme.gateway.parts.publisher.records) == published


@pytest.mark.parametrize(("method", "path"), WITH_ID)
async def test_its_own_id_is_known(acme: Acme, method: str, path: str) -> None:
    """So that the tests above do not hold for want of anything to see."""
    sent = body_of(method)
    identity = acme.job if path.startswith("/v1/bulk") else acme.written
    answer = await acme.client.request(method, at(path, identity), **{**sent, "headers": ACME | sent["headers"]})
    assert answer.status_code not in {401, 403, 404, 405}


@pytest.mark.parametrize(("method", "path"), [each for each in WITH_ID if not each[1].startswith("/v1/bulk")])
async def test_the_id_of_its_own_job_is_no_request_and_says_where_to_ask(acme: Acme, method: str, path: str) -> None:
    sent = body_of(method)
    answer = await acme.client.request(method, at(path, acme.job), **{**sent, "headers": ACME | sent["headers"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "request_unknown")
    assert f"/v1/bulk/{acme.job}" in answer.json()["next"]


@pytest.mark.parametrize("path", LISTS)
async def test_no_list_holds_anything_of_another_tenant(acme: Acme, path: str) -> None:
    for question in ("", "?limit=200", f"?user={SECRET}", f"?device={SECRET}", "?tenant=acme"):
        answer = await acme.client.get(path + question, headers=GLOBEX)
        assert answer.status_code in {200, 400}
        assert SECRET not in answer.text
        assert not any(str(identity) in answer.text for identity in acme.ids)
    own = await acme.client.get(path, headers=ACME)
    assert any(str(identity) in own.text for identity in acme.ids)


async def test_another_tenants_cursor_leads_nowhere_but_to_ones_own(acme: Acme) -> None:
    acme.gateway.parts.lookup.put(a_row(IDS.new("acme"), "acme"))
    mine = IDS.new("globex")
    acme.gateway.parts.lookup.put(a_row(mine, "globex"))
    cursor = (await acme.client.get("/v1/requests?limit=1", headers=ACME)).json()["next_cursor"]
    assert cursor
    answer = await acme.client.get("/v1/requests", params={"cursor": cursor}, headers=GLOBEX)
    assert {each["request_id"] for each in answer.json()["requests"]} <= {str(mine)}
    jobs = await acme.client.get("/v1/bulk", params={"before": str(acme.job)}, headers=GLOBEX)
    assert jobs.json()["jobs"] == []


async def test_the_tenant_is_the_keys_whatever_the_caller_says(acme: Acme) -> None:
    for body in ({"prompt": "a", "tenant": "acme"}, {"prompt": "a", "priority": 9}, {"prompt": "a", "callback": "x"}):
        answer = await acme.client.post("/v1/requests", json=body, headers=GLOBEX)
        assert answer.status_code == 400
    for header in ("X-Tenant", "X-Headrace-Tenant", "ce_tenant"):
        asked = await acme.client.post("/v1/requests", json={"prompt": "a"}, headers=GLOBEX | {header: "acme"})
        identity = UUID(asked.json()["request_id"])
        assert IDS.is_ours("globex", identity)
        assert (await acme.client.get(f"/v1/requests/{identity}", headers=ACME)).status_code == 404


async def test_an_idempotency_key_is_its_tenants_own(acme: Acme) -> None:
    named = {"Idempotency-Key": "one"}
    one, other = [
        (await acme.client.post("/v1/requests", json={"prompt": "a"}, headers=who | named)).json()["request_id"]
        for who in (ACME, GLOBEX)
    ]
    assert one != other
    first, second = [
        (await acme.client.post("/v1/bulk", content=b'{"prompt": "a"}\n', headers=who | named | NDJSON)).json()
        for who in (ACME, GLOBEX)
    ]
    assert first != second


async def test_each_stream_carries_its_own_tenants_results(acme: Acme) -> None:
    streams = [asyncio.create_task(acme.client.get("/v1/results/stream", headers=who)) for who in (ACME, GLOBEX)]
    await acme.gateway.followed_by(2)
    ids = {"acme": [uuid7(), uuid7()], "globex": [uuid7()]}
    for offset, (tenant, identity) in enumerate(
        [("acme", ids["acme"][0]), ("globex", ids["globex"][0]), ("acme", ids["acme"][1])]
    ):
        acme.gateway.publish_result(offset, tenant, request_id=identity)
    acme.gateway.hub.close()
    seen = [frames_in(answer.content) for answer in await asyncio.gather(*streams)]
    assert [ids_in(frames) for frames in seen] == [[str(each) for each in ids[tenant]] for tenant in ("acme", "globex")]


async def test_another_tenants_event_id_is_refused(acme: Acme) -> None:
    stream = asyncio.create_task(acme.client.get("/v1/results/stream", headers=ACME))
    await acme.gateway.followed_by(1)
    acme.gateway.publish_result(0, "acme")
    acme.gateway.hub.close()
    event_id = [frame.id for frame in frames_in((await stream).content) if frame.id][-1]
    assert event_id
    answer = await acme.client.get("/v1/results/stream", headers=GLOBEX | {"Last-Event-ID": event_id})
    assert (answer.status_code, SECRET in answer.text) == (400, False)


async def test_a_key_without_a_scope_does_nothing_of_it(acme: Acme) -> None:
    caller = acme.gateway.parts.keys.callers[ACME_KEY]
    for method, path in GUARDED:
        wanted = "read" if method == "GET" else "submit"
        acme.gateway.parts.keys.callers[ACME_KEY] = type(caller)(caller.key_id, "acme", SCOPES - {wanted, "admin"})
        sent = body_of(method)
        answer = await acme.client.request(
            method, at(path, acme.written), **{**sent, "headers": ACME | sent["headers"]}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
