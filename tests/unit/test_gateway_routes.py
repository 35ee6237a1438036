"""What callers of the gateway are answered, on memory adapters: status, code, and what was published meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from producers.gateway.budgets import SpentBudget
from producers.gateway.callers import Caller, KeyId, KeyQuotas
from producers.gateway.health import Health
from producers.gateway.load import NoLoad, Overload
from producers.gateway.lookup import Calls, StoredRequest
from producers.gateway.quotas import NoQuotas, QuotaAsk, QuotaVerdict
from producers.gateway.waiting import Expected
from producers.publisher import PublishError, Refusal
from producers.uuid7 import time_of, uuid7
from schemas.codec import decode_cancel, decode_request
from schemas.record import OutgoingRecord, Record
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import BULK_REQUESTS, CONTROL, MAX_VALUE_BYTES, REQUESTS, Lane
from tests.gateway_parts import ACME, ACME_KEY, GLOBEX, IDS, Parts, as_caller
from tests.sinks import a_result

ASKED = {"prompt": "Which VLAN is native on port 7?"}


def read(record: OutgoingRecord) -> PromptRequest:
    return decode_request(Record(record.topic, 0, 0, record.key, record.value, record.headers, 0))


def is_problem(answer: httpx2.Response, status: int, code: str) -> bool:
    document = answer.json()
    return (
        (answer.status_code, document["status"], document["code"]) == (status, status, code)
        and answer.headers["content-type"] == "application/problem+json"
        and bool(document["next"])
    )


async def test_an_accepted_request_is_on_its_topic_under_the_id_and_tenant_of_its_caller() -> None:
    parts = Parts()
    async with parts.running() as client:
        answer = await client.post(
            "/v1/requests", json={**ASKED, "user_id": "ana", "labels": {"site": "ams"}}, headers=ACME
        )
    told = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/requests/{told['request_id']}"
    (record,) = parts.publisher.records
    request = read(record)
    assert (record.topic, str(request.request_id), request.tenant) == (REQUESTS, told["request_id"], "acme")
    assert (request.user_id, request.labels) == ("ana", {"site": "ams"})
    assert request.accepted_at == time_of(request.request_id) == datetime.fromisoformat(told["accepted_at"])


async def test_the_lane_is_the_callers_choice_and_a_trace_goes_on() -> None:
    parts = Parts()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with parts.running() as client:
        await client.post("/v1/requests?lane=bulk", json=ASKED, headers={**ACME, "traceparent": trace})
    (record,) = parts.publisher.records
    assert record.topic == BULK_REQUESTS
    assert dict(record.headers)["traceparent"] == trace.encode()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b'{"prompt": "a", "tenant": "globex"}', "tenant"),
        (b'{"prompt": "a", "request_id": "0190163d-8694-739b-aea5-966c26f8ad91"}', "request_id"),
        (b'{"prompt": "a", "accepted_at": "2026-01-01T00:00:00Z"}', "accepted_at"),
        (b'{"prompt": "a", "temperature": 1}', "temperature"),
        (b'{"prompt": "a", "max_tokens": 0}', "max_tokens"),
        (b"{}", "messages"),
        (b'{"template": "network-config@1", "variables": {"device_name": "a"}}', "requirements"),
        (b'{"template": "no-such@1"}', "no-such@1"),
    ],
)
async def test_a_bad_body_is_refused_by_name_and_publishes_nothing(body: bytes, named: str) -> None:
    parts = Parts()
    async with parts.running() as client:
        answer = await client.post("/v1/requests", content=body, headers=ACME)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_json", "invalid_request"}
    assert named in answer.json()["detail"]
    assert parts.publisher.records == []


async def test_a_refusal_never_repeats_what_the_caller_sent() -> None:
    async with Parts().running() as client:
        answer = await client.post(
            "/v1/requests", json={"prompt": ["s3cret"], "labels": {"s3cret!": "x"}}, headers=ACME
        )
    assert answer.status_code == 400
    assert "s3cret" not in answer.text


async def test_a_request_above_the_topics_bound_is_refused_before_it_is_published() -> None:
    parts = Parts()
    async with parts.running() as client:
        answer = await client.post("/v1/requests", json={"prompt": "x" * MAX_VALUE_BYTES}, headers=ACME)
    assert is_problem(answer, 413, "request_too_large")
    assert parts.publisher.records == []


async def test_without_a_valid_key_nothing_is_said_of_anything() -> None:
    async with Parts().running() as client:
        for headers in ({}, as_caller("hr_wrong"), {"Authorization": "Basic !"}):
            for method, path in (("POST", "/v1/requests"), ("GET", "/v1/requests"), ("GET", f"/v1/requests/{uuid7()}")):
                answer = await client.request(method, path, json=ASKED if method == "POST" else None, headers=headers)
                assert is_problem(answer, 401, "key_invalid")
                assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_does_only_what_its_scopes_say() -> None:
    parts = Parts()
    parts.keys.callers["reader"] = Caller(KeyId("r"), "acme", frozenset({"read"}))
    parts.keys.callers["writer"] = Caller(KeyId("w"), "acme", frozenset({"submit"}))
    async with parts.running() as client:
        assert is_problem(
            await client.post("/v1/requests", json=ASKED, headers=as_caller("reader")), 403, "scope_missing"
        )
        assert is_problem(await client.get("/v1/requests", headers=as_caller("writer")), 403, "scope_missing")
    assert parts.publisher.records == []


async def test_a_key_for_some_models_asks_no_other_and_its_default_counts_too() -> None:
    parts = Parts()
    parts.keys.callers[ACME_KEY] = replace(parts.keys.callers[ACME_KEY], allowed_models=frozenset({"claude-opus-5"}))
    async with parts.running() as client:
        named = await client.post("/v1/requests", json={**ASKED, "model": "claude-opus-5"}, headers=ACME)
        assert named.status_code == 202
        for asked in ({**ASKED, "model": "claude-haiku-5-5"}, ASKED):
            assert is_problem(await client.post("/v1/requests", json=asked, headers=ACME), 403, "model_not_allowed")


async def test_the_same_key_and_body_give_the_same_id_and_one_record() -> None:
    parts = Parts()
    async with parts.running() as client:
        answers = [
            await client.post("/v1/requests", json=ASKED, headers={**ACME, "Idempotency-Key": "one"}) for _ in range(3)
        ]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true"]
    assert len(parts.publisher.records) == 1


async def test_a_key_is_its_tenants_own_and_takes_one_body() -> None:
    parts = Parts()
    async with parts.running() as client:
        keyed = {"Idempotency-Key": "one"}
        mine = await client.post("/v1/requests", json=ASKED, headers={**ACME, **keyed})
        theirs = await client.post("/v1/requests", json={"prompt": "else"}, headers={**GLOBEX, **keyed})
        other = await client.post("/v1/requests", json={"prompt": "else"}, headers={**ACME, **keyed})
        lane = await client.post("/v1/requests?lane=bulk", json=ASKED, headers={**ACME, **keyed})
    assert mine.status_code == theirs.status_code == 202
    assert is_problem(other, 422, "idempotency_key_reused")
    assert is_problem(lane, 422, "idempotency_key_reused")
    assert len(parts.publisher.records) == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tbed"])
async def test_what_is_no_idempotency_key_is_refused(key: str) -> None:
    async with Parts().running() as client:
        answer = await client.post("/v1/requests", json=ASKED, headers={**ACME, "Idempotency-Key": key})
    assert is_problem(answer, 400, "invalid_idempotency_key")


@dataclass
class SilentPublisher:
    """A broker that confirms nothing, or refuses for sure."""

    reason: str
    asked: list[OutgoingRecord] = field(default_factory=list)

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        self.asked.extend(records)
        raise PublishError([Refusal(record, self.reason) for record in records], len(records))

    async def close(self) -> None:
        pass


async def test_an_unknown_outcome_tells_the_id_and_a_repeat_publishes_under_the_same() -> None:
    silent = SilentPublisher("Local: Message timed out")
    async with Parts(others={"publisher": silent}).running() as client:
        answers = [
            await client.post("/v1/requests", json=ASKED, headers={**ACME, "Idempotency-Key": "one"}) for _ in range(2)
        ]
    for answer in answers:
        assert is_problem(answer, 503, "outcome_unknown")
        assert int(answer.headers["retry-after"]) >= 1
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    first, second = (read(record) for record in silent.asked)
    assert first == second


async def test_a_refusal_for_sure_forgets_the_key() -> None:
    full = SilentPublisher("the producer's queue stayed full; the broker takes nothing")
    async with Parts(others={"publisher": full}).running() as client:
        for body in (ASKED, {"prompt": "another"}):
            answer = await client.post("/v1/requests", json=body, headers={**ACME, "Idempotency-Key": "one"})
            assert is_problem(answer, 503, "broker_refused")


@dataclass
class Overloaded(NoLoad):
    verdict: Overload

    def overload(self, tenant: str, lane: Lane) -> Overload | None:
        del tenant, lane
        return self.verdict


@pytest.mark.parametrize(
    ("overload", "status"),
    [
        (Overload("backlog", 7.2), 503),
        (Overload("broker_away", 0.1), 503),
        (Overload("tenant_backlog", 59.9), 429),
    ],
)
async def test_no_room_is_told_with_when_to_come_again(overload: Overload, status: int) -> None:
    parts = Parts(others={"load": Overloaded(overload)})
    async with parts.running() as client:
        answer = await client.post("/v1/requests", json=ASKED, headers=ACME)
    assert is_problem(answer, status, overload.code)
    assert int(answer.headers["retry-after"]) == max(1, -int(-overload.retry_after_seconds // 1))
    assert parts.publisher.records == []


class SpentBudgets:
    async def spent(self, request: PromptRequest) -> SpentBudget | None:
        return SpentBudget("department noc", 90.5) if request.department == "noc" else None


async def test_a_spent_budget_is_told_before_anything_is_published() -> None:
    parts = Parts(others={"budgets": SpentBudgets()})
    async with parts.running() as client:
        refused = await client.post("/v1/requests", json={**ASKED, "department": "noc"}, headers=ACME)
        assert (await client.post("/v1/requests", json=ASKED, headers=ACME)).status_code == 202
    assert is_problem(refused, 402, "budget_spent")
    assert "noc" in refused.json()["detail"]
    assert len(parts.publisher.records) == 1


@dataclass
class OneQuota(NoQuotas):
    asked: list[QuotaAsk] = field(default_factory=list)

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        self.asked.append(ask)
        left = (("RateLimit", '"key_rate";r=0'),)
        return QuotaVerdict(len(self.asked) == 1, 2.5, "key_rate", left)


async def test_quotas_are_asked_once_a_call_and_their_headers_go_with_the_answer() -> None:
    quota = OneQuota()
    async with Parts(others={"quotas": quota}).running() as client:
        first = await client.post("/v1/requests", json={**ASKED, "user_id": "ana"}, headers=ACME)
        second = await client.post("/v1/requests", json=ASKED, headers=ACME)
    assert first.status_code == 202
    assert is_problem(second, 429, "quota_exceeded")
    assert second.headers["retry-after"] == "3"
    assert first.headers["ratelimit"] == second.headers["ratelimit"]
    assert (quota.asked[0].caller.tenant, quota.asked[0].user, quota.asked[0].requests) == ("acme", "ana", 1)


@dataclass
class Quick:
    """Has the result as soon as it is listened for."""

    expected: list[tuple[str, UUID]] = field(default_factory=list)
    published_before: list[int] = field(default_factory=list)
    parts: Parts | None = None

    @contextmanager
    def expecting(self, tenant: str, request_id: UUID) -> Iterator[Expected]:
        assert self.parts is not None
        self.expected.append((tenant, request_id))
        self.published_before.append(len(self.parts.publisher.records))
        yield self

    async def result(self, within_seconds: float) -> PromptResult | None:
        del within_seconds
        tenant, request_id = self.expected[-1]
        return a_result(request_id=request_id, tenant=tenant)


async def test_wait_answers_in_place_and_listens_before_it_publishes() -> None:
    waiter = Quick()
    parts = Parts(others={"waiter": waiter})
    waiter.parts = parts
    async with parts.running() as client:
        answer = await client.post("/v1/requests?wait=5", json=ASKED, headers=ACME)
        for wait in ("61", "-1", "nan", "soon"):
            assert is_problem(
                await client.post(f"/v1/requests?wait={wait}", json=ASKED, headers=ACME), 400, "invalid_request"
            )
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["answer"]["text"]) == ("completed", a_result().answer.text)  # type: ignore[union-attr]
    assert waiter.published_before == [0]


async def test_a_repeat_that_waits_gets_the_end_of_the_first() -> None:
    parts = Parts()
    async with parts.running() as client:
        keyed = {**ACME, "Idempotency-Key": "one"}
        first = await client.post("/v1/requests", json=ASKED, headers=keyed)
        request_id = UUID(first.json()["request_id"])
        parts.lookup.put(a_row(request_id, status="completed", answer="VLAN 7"))
        again = await client.post("/v1/requests?wait=5", json=ASKED, headers=keyed)
    assert (again.status_code, again.json()["answer"]["text"]) == (200, "VLAN 7")
    assert len(parts.publisher.records) == 1


def a_row(request_id: UUID, tenant: str = "acme", **fields: Any) -> StoredRequest:
    usual: dict[str, Any] = {"status": "pending", "labels": {}, "accepted_at": datetime.now(UTC)}
    absent = dict.fromkeys(("department", "user_id", "application", "template", "lane"))
    return StoredRequest(request_id=request_id, tenant=tenant, **{**absent, **usual, **fields})


async def test_an_id_just_given_out_is_pending_though_no_store_has_it() -> None:
    async with Parts().running() as client:
        request_id = (await client.post("/v1/requests", json=ASKED, headers=ACME)).json()["request_id"]
        answer = await client.get(f"/v1/requests/{request_id}", headers=ACME)
    assert (answer.status_code, answer.json()["status"], answer.json()["attempts"]) == (200, "pending", 0)


async def test_another_tenants_id_looks_exactly_like_one_that_never_was() -> None:
    parts = Parts()
    async with parts.running() as client:
        given = UUID((await client.post("/v1/requests", json=ASKED, headers=ACME)).json()["request_id"])
        written = IDS.new("acme")
        parts.lookup.put(a_row(written, status="completed", answer="secret"))
        for method in ("GET", "DELETE"):
            told = [
                await client.request(method, f"/v1/requests/{each}", headers=GLOBEX)
                for each in (given, written, uuid7())
            ]
            assert {answer.status_code for answer in told} == {404}
            bodies = [answer.json() | {"request_id": None} for answer in told]
            assert bodies[0] == bodies[1] == bodies[2]
            assert len({tuple(sorted(answer.headers)) for answer in told}) == 1
    assert len(parts.publisher.records) == 1


async def test_an_id_older_than_its_topic_keeps_records_is_unknown_without_a_row() -> None:
    now = datetime.now(UTC)
    ids = [
        IDS.new("acme", int((now - age).timestamp() * 1000))
        for age in (timedelta(days=6), timedelta(days=8), -timedelta(hours=1))
    ]
    async with Parts().running() as client:
        found = [(await client.get(f"/v1/requests/{each}", headers=ACME)).status_code for each in ids]
    assert found == [200, 404, 404]


@pytest.mark.parametrize(
    ("calls", "status"),
    [
        (Calls(), "pending"),
        (Calls(1, "sent"), "processing"),
        (Calls(1, "answered"), "processing"),
        (Calls(2, "not_paid"), "retrying"),
        (Calls(1, "ambiguous"), "retrying"),
    ],
)
@pytest.mark.parametrize("written", [True, False])
async def test_what_waits_is_told_by_its_calls(calls: Calls, status: str, *, written: bool) -> None:
    parts, request_id = Parts(), IDS.new("acme")
    parts.lookup.calls["acme", request_id] = calls
    if written:
        parts.lookup.put(a_row(request_id))
    async with parts.running() as client:
        told = (await client.get(f"/v1/requests/{request_id}", headers=ACME)).json()
    assert (told["status"], told["attempts"]) == (status, calls.count)


async def test_a_cancellation_is_an_event_for_the_workers() -> None:
    parts, request_id = Parts(), IDS.new("acme")
    async with parts.running() as client:
        answer = await client.delete(f"/v1/requests/{request_id}", headers=ACME)
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
        parts.lookup.put(a_row(request_id, status="completed"))
        assert is_problem(await client.delete(f"/v1/requests/{request_id}", headers=ACME), 409, "already_ended")
    (record,) = parts.publisher.records
    event = decode_cancel(Record(record.topic, 0, 0, record.key, record.value, record.headers, 0))
    assert (record.topic, event.request_id, event.tenant) == (CONTROL, request_id, "acme")


async def test_pages_follow_each_other_without_gap_or_repetition() -> None:
    parts, moment = Parts(), datetime(2026, 11, 1, tzinfo=UTC)
    ids = [IDS.new("acme") for _ in range(7)]
    for number, each in enumerate(ids):
        parts.lookup.put(a_row(each, accepted_at=moment + timedelta(seconds=number // 3)))
    parts.lookup.put(a_row(IDS.new("globex"), "globex"))
    seen: list[str] = []
    async with parts.running() as client:
        query: dict[str, str] = {"limit": "3"}
        while True:
            page = (await client.get("/v1/requests", params=query, headers=ACME)).json()
            seen += [each["request_id"] for each in page["requests"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
    assert sorted(seen) == sorted(str(each) for each in ids)


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nonsense",
        "cursor=%00",
        "label=nocolon",
        "label=:x",
        "status=asleep",
        "since=yesterday",
        "limit=0",
        "limit=201",
        "user=",
        "user=a%00b",
        "label=a:%00",
        "nonsense=1",
        "since=2026-01-01T00:00:00",
        "since=0.5",
        "since=1767225600",
    ],
)
async def test_a_list_with_a_bad_question_is_refused(query: str) -> None:
    async with Parts().running() as client:
        answer = await client.get(f"/v1/requests?{query}", headers=ACME)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_request", "invalid_cursor"}


async def test_the_old_routes_take_a_device_and_tell_how_its_job_stands() -> None:
    parts = Parts()
    asked = {
        "device_name": "ams-01-acc-01",
        "requirements": "VLANs 10, 20",
        "user_id": "ana",
        "department": "noc",
        "x": 1,
    }
    async with parts.running() as client:
        answer = await client.post("/api/generate-config", json=asked, headers=ACME)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        job = UUID(answer.json()["job_id"])
        (request,) = (read(record) for record in parts.publisher.records)
        assert (request.template, request.user_id, request.department) == ("network-config@1", "ana", "noc")
        assert request.labels == {"device_name": "ams-01-acc-01"}
        parts.lookup.put(a_row(job, status="completed", answer="vlan 10", labels={"device_name": "ams-01-acc-01"}))
        told = (await client.get(f"/api/job-status/{job}", headers=ACME)).json()
        assert (told["status"], told["result"], told["device_name"]) == ("completed", "vlan 10", "ams-01-acc-01")


@pytest.mark.parametrize("field", ["device_name", "requirements"])
async def test_the_old_routes_name_the_field_that_is_missing(field: str) -> None:
    asked = {"device_name": "a", "requirements": "b"}
    del asked[field]
    async with Parts().running() as client:
        answer = await client.post("/api/generate-config", json=asked, headers=ACME)
        assert answer.status_code == 400
        assert field in answer.json()["detail"]


async def test_the_old_bulk_route_takes_what_is_right_and_names_what_is_not() -> None:
    parts = Parts()
    devices = [
        {"device_name": "a", "requirements": "x"},
        {"device_name": "b"},
        7,
        {"device_name": "c", "requirements": "y"},
    ]
    async with parts.running() as client:
        told = (await client.post("/api/bulk-generate", json={"requests": devices}, headers=ACME)).json()
        assert (await client.post("/api/bulk-generate", json={"requests": [{}]}, headers=ACME)).status_code == 400
        assert (await client.post("/api/bulk-generate", json={"requests": []}, headers=ACME)).status_code == 400
    assert [job["device_name"] for job in told["jobs"]] == ["a", "c"]
    assert [each["index"] for each in told["rejected"]] == [1, 2]
    assert {record.topic for record in parts.publisher.records} == {BULK_REQUESTS}
    assert [str(read(each).request_id) for each in parts.publisher.records] == [job["job_id"] for job in told["jobs"]]


async def test_nobody_calls_the_old_routes_without_a_key_unless_a_tenant_is_named_for_it() -> None:
    asked = {"device_name": "a", "requirements": "b"}
    async with Parts().running() as client:
        assert is_problem(await client.post("/api/generate-config", json=asked), 401, "key_invalid")
    parts = Parts(others={"anonymous": Caller(KeyId("anonymous"), "guests", frozenset({"submit"}), None, KeyQuotas())})
    async with parts.running() as client:
        assert (await client.post("/api/generate-config", json=asked)).status_code == 202
        assert is_problem(
            await client.post("/api/generate-config", json=asked, headers=as_caller("wrong")), 401, "key_invalid"
        )
        assert is_problem(await client.post("/v1/requests", json=ASKED), 401, "key_invalid")
    assert read(parts.publisher.records[0]).tenant == "guests"


async def test_readiness_says_what_is_missing_and_what_is_merely_away() -> None:
    for health, status, word in (
        (Health({}, {}), 200, "ready"),
        (Health({}, {"postgres": lambda: "it is down"}), 200, "postgres"),
        (Health({"kafka": lambda: "it is down"}, {}), 503, "kafka"),
    ):
        async with Parts(others={"health": health}).running() as client:
            for path in ("/readyz", "/api/health"):
                answer = await client.get(path)
                assert answer.status_code == status
                assert word in answer.text or path == "/api/health"
            assert (await client.get("/livez")).status_code == 200


async def test_every_refusal_is_a_problem_document_the_frameworks_too() -> None:
    async with Parts().running() as client:
        assert is_problem(await client.get("/nope"), 404, "no_such_route")
        put = await client.put("/v1/requests", headers=ACME)
        assert is_problem(put, 405, "method_not_allowed")
        assert put.headers["allow"] == "GET, POST"
        assert is_problem(await client.get("/v1/requests/nope", headers=ACME), 400, "invalid_request")
