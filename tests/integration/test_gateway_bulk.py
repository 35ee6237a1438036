"""Bulk uploads over a real HTTP server, broker and store: cut, resumed, refused, cancelled, followed."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from producers.gateway.app import gateway_app
from producers.gateway.bulk_book import LEASE_SECONDS, Held, Progress
from producers.gateway.bulk_desk import BulkDesk, DeskPorts
from producers.gateway.bulk_intake import BulkIntake, IntakePorts
from producers.gateway.bulk_routes import bulk_routes
from producers.gateway.callers import Caller, KeyId
from producers.gateway.ids import SignedIds, lines_of, number_of
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import PublishError, Refusal
from schemas.codec import decode_cancel, decode_request
from schemas.record import OutgoingRecord, Record
from schemas.topics import BULK_REQUESTS, CONTROL
from streams.bulk_jobs.postgres_jobs import PostgresJobs
from streams.bulk_jobs.postgres_lines import PostgresLines
from streams.sinks.postgres_store import PostgresStore
from tests.gateway import serving
from tests.kafka_reading import end_offsets, read_from
from tests.sinks import a_batch, a_result

IDS = SignedIds(b"a secret of sixteen bytes")


class Keys:
    """Every secret is the key of the tenant it names."""

    async def caller_of(self, secret: str) -> Caller | None:
        models = frozenset({"claude-haiku-5-5"}) if secret.endswith("-limited") else None
        return Caller(KeyId(secret), secret, frozenset({"submit", "read"}), models)


class FaultyPublisher:
    """The real one, until it has published so many records; then it confirms nothing."""

    def __init__(self, inner: KafkaPublisher) -> None:
        self._inner = inner
        self.left = 10**9

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        self.left -= len(records)
        if self.left < 0:
            raise PublishError([Refusal(record, "timed out") for record in records], len(records))
        await self._inner.publish(records)

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class Front:
    client: httpx2.AsyncClient
    tenant: str
    kafka: str
    dsn: str
    publisher: FaultyPublisher

    async def upload(self, content: Any, kind: str = "application/x-ndjson", **headers: str) -> httpx2.Response:
        sent = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.post("/v1/bulk", content=content, headers=sent)

    def published(self, positions: Any) -> list[OutgoingRecord]:
        return [record for record in read_from(self.kafka, positions) if self.tenant.encode() in (record.value or b"")]


@pytest.fixture
async def front(kafka: str, postgres_dsn: str) -> AsyncIterator[Front]:
    apply_topics(kafka, 1)
    migrate_postgres(postgres_dsn, datetime.now(UTC))
    publisher = FaultyPublisher(KafkaPublisher(kafka))
    tenant = f"t-{uuid4().hex[:12]}"
    async with AsyncConnectionPool(postgres_dsn, min_size=1, max_size=4, kwargs={"prepare_threshold": None}) as pool:
        intake = BulkIntake(IntakePorts(IDS, PostgresJobs(pool), publisher, "claude-haiku-5-5"))
        jobs, lines_of_jobs = PostgresJobs(pool), PostgresLines(pool)
        desk = BulkDesk(DeskPorts(IDS, jobs, jobs, lines_of_jobs, publisher, lambda: datetime.now(UTC)))
        async with (
            serving(gateway_app([bulk_routes(intake, desk, Keys())])) as url,
            httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {tenant}"}, timeout=60) as client,
        ):
            yield Front(client, tenant, kafka, postgres_dsn, publisher)
    await publisher.close()


def lines(count: int, first: int = 1) -> list[bytes]:
    numbers = range(first, first + count)
    return [b'{"prompt":"question %d","labels":{"n":"%d"}}\n' % (number, number) for number in numbers]


def requests_of(records: list[OutgoingRecord]) -> dict[UUID, str]:
    """Question by id."""
    found: dict[UUID, str] = {}
    for record in records:
        request = decode_request(Record(record.topic, 0, 0, record.key, record.value, record.headers, 1))
        assert request.messages is not None
        found[request.request_id] = str(request.messages[0].content)
    return found


async def test_what_is_accepted_is_in_the_topic_and_a_bad_line_is_rejected_alone(front: Front) -> None:
    before = end_offsets(front.kafka, BULK_REQUESTS)
    content = b"".join([*lines(2), b'{"prompt":\n', b"\n", b'{"tenant":"other","prompt":"x"}\n', *lines(1, 3)])
    answer = await front.upload(content)
    assert answer.status_code == 202
    receipt = answer.json()
    assert answer.headers["location"] == f"/v1/bulk/{receipt['id']}"
    assert (receipt["state"], receipt["items"], receipt["accepted"], receipt["rejected"]) == ("sealed", 5, 3, 2)
    assert [(each["item"], each["line"]) for each in receipt["rejections"]] == [(3, 3), (4, 5)]
    assert "tenant" in receipt["rejections"][1]["reason"]
    job = UUID(receipt["id"])
    asked = requests_of(front.published(before))
    assert {number_of(identity): question for identity, question in asked.items()} == {
        1: "question 1",
        2: "question 2",
        5: "question 3",
    }
    verdicts = (await front.client.get(f"/v1/bulk/{job}/lines")).json()["lines"]
    assert [each["status"] for each in verdicts] == ["accepted", "accepted", "rejected", "rejected", "accepted"]
    assert {UUID(each["request_id"]) for each in verdicts if each["status"] == "accepted"} == set(asked)
    rejected = (await front.client.get(f"/v1/bulk/{job}/lines", params={"status": "rejected"})).json()["lines"]
    assert [each["line"] for each in rejected] == [3, 5]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", json.dumps([{"prompt": "a"}, {"prompt": "b"}, 7])),
        ("text/csv; charset=utf-8", "device_name,requirements\nr1,vlan 10\nr2,vlan 20\nr3\n"),
        ("application/x-ndjson", '{"prompt":"a"}\r\n{"prompt":"b"}\r\n[]'),
    ],
)
async def test_the_three_forms_are_taken(front: Front, kind: str, content: str) -> None:
    receipt = (await front.upload(content.encode(), kind)).json()
    assert (receipt["accepted"], receipt["rejected"]) == (2, 1)


async def test_a_cut_upload_goes_on_and_asks_nothing_twice(front: Front) -> None:
    before = end_offsets(front.kafka, BULK_REQUESTS)
    content = lines(3500)
    front.publisher.left = 2300
    cut = await front.upload(b"".join(content), idempotency_key="fleet-1")
    assert (cut.status_code, cut.json()["code"]) == (503, "broker_away")
    job = cut.json()["job"]
    interrupted = (await front.client.get(f"/v1/bulk/{job}")).json()
    assert (interrupted["state"], interrupted["items"]) == ("interrupted", 2000)
    front.publisher.left = 10**9
    again = await front.upload(b"".join(content), idempotency_key="fleet-1")
    assert again.status_code == 202
    assert (again.json()["id"], again.json()["accepted"]) == (job, 3500)
    records = front.published(before)
    asked = requests_of(records)
    assert len(asked) == 3500
    assert len({(record.key, record.value, record.headers) for record in records}) == 3500
    repeated = await front.upload(b"".join(content), idempotency_key="fleet-1")
    assert (repeated.status_code, repeated.json()["id"]) == (202, job)
    assert len(front.published(before)) == len(records)


async def test_a_client_that_goes_away_leaves_a_job_that_goes_on_at_once(front: Front) -> None:
    content = lines(2500)

    async def half() -> AsyncIterator[bytes]:
        yield b"".join(content[:2200])
        await asyncio.sleep(0.2)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await front.upload(half(), idempotency_key="fleet-2")
    deadline = time.monotonic() + 3 * LEASE_SECONDS
    while True:
        (job,) = (await front.client.get("/v1/bulk")).json()["jobs"]
        if job["state"] == "interrupted":
            break
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.1)
    assert job["items"] == 2000
    again = await front.upload(b"".join(content), idempotency_key="fleet-2")
    assert (again.status_code, again.json()["id"], again.json()["accepted"]) == (202, job["id"], 2500)


@pytest.mark.parametrize("other", ["changed", "shorter", "longer"])
async def test_other_content_under_the_same_key_is_refused(front: Front, other: str) -> None:
    content = lines(1500)
    assert (await front.upload(b"".join(content), idempotency_key="k")).status_code == 202
    changed = {
        "changed": [b'{"prompt":"another"}\n', *content[1:]],
        "shorter": content[:1000],
        "longer": [*content, *lines(1, 1501)],
    }[other]
    answer = await front.upload(b"".join(changed), idempotency_key="k")
    assert (answer.status_code, answer.json()["code"]) == (422, "other_content")


async def test_while_an_upload_goes_on_its_key_is_busy(front: Front) -> None:
    first_may_end = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield lines(1)[0]
        await first_may_end.wait()

    first = asyncio.ensure_future(front.upload(slowly(), idempotency_key="k"))
    deadline = time.monotonic() + 20
    while not (await front.client.get("/v1/bulk")).json()["jobs"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    busy = await front.upload(lines(1)[0], idempotency_key="k")
    assert (busy.status_code, busy.json()["code"]) == (409, "upload_in_progress")
    assert int(busy.headers["retry-after"]) >= 1
    first_may_end.set()
    assert (await first).status_code == 202


async def test_more_items_than_a_job_may_have_are_refused_behind_the_last_that_fits(front: Front) -> None:
    answer = await front.upload(b"{}\n" * 100_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_items")
    job = (await front.client.get(f"/v1/bulk/{answer.json()['job']}")).json()
    assert (job["items"], job["rejected"]) == (100_000, 100_000)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/x-ndjson", 400),
        (b"[{}", "application/json", 400),
        (b"a,b\n", "text/csv", 400),
        (b"{}", "text/plain", 415),
    ],
)
async def test_uploads_that_cannot_be_read_are_refused(front: Front, content: bytes, kind: str, status: int) -> None:
    answer = await front.upload(content, kind)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_dry_run_publishes_and_keeps_nothing(front: Front) -> None:
    before = end_offsets(front.kafka, BULK_REQUESTS)
    headers = {"content-type": "application/x-ndjson"}
    answer = await front.client.post("/v1/bulk?dry_run=true", content=b"".join([*lines(3), b"{"]), headers=headers)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["rejected"], told["rejections"][0]["line"]) == (3, 1, 4)
    assert front.published(before) == []
    assert (await front.client.get("/v1/bulk")).json()["jobs"] == []


async def test_a_model_that_the_key_does_not_allow_is_rejected_by_line(front: Front) -> None:
    headers = {"authorization": f"Bearer {front.tenant}-limited"}
    answer = await front.upload(b'{"prompt":"a"}\n{"prompt":"b","model":"claude-opus-5-5"}\n', **headers)
    assert [each["line"] for each in answer.json()["rejections"]] == [2]


async def test_another_tenant_sees_nothing_of_a_job(front: Front) -> None:
    job = (await front.upload(b"".join(lines(3)))).json()["id"]
    other = {"authorization": f"Bearer {front.tenant}-2"}
    for path in ("", "/lines", "/results"):
        missing = await front.client.get(f"/v1/bulk/{job}{path}", headers=other)
        never = await front.client.get(f"/v1/bulk/{uuid4()}{path}", headers=other)
        assert (missing.status_code, missing.json()) == (404, never.json())
    assert (await front.client.delete(f"/v1/bulk/{job}", headers=other)).status_code == 404
    assert (await front.client.get("/v1/bulk", headers=other)).json()["jobs"] == []


async def test_the_status_and_the_results_of_a_job_come_from_its_lines(front: Front) -> None:
    job = UUID((await front.upload(b"".join(lines(4)))).json()["id"])
    first = (await front.client.get(f"/v1/bulk/{job}")).json()
    assert (first["percent"], first["by_status"], first["done"]) == (0.0, {"pending": 4}, 0)
    now = datetime.now(UTC).isoformat()
    timing = {"accepted_at": now, "started_at": now, "completed_at": now}
    error = {"code": "deadline_passed", "message": "too late"}
    results = [a_result(IDS.line(front.tenant, job, number), tenant=front.tenant, timing=timing) for number in (1, 2)]
    late = a_result(
        IDS.line(front.tenant, job, 4),
        tenant=front.tenant,
        status="expired",
        answer=None,
        source=None,
        error=error,
        timing=timing,
    )
    stranger = a_result(uuid4(), tenant=front.tenant, timing=timing)
    store = PostgresStore(front.dsn)
    store.write(a_batch(store, [*results, late, stranger]))
    store.close()
    deadline = time.monotonic() + 20
    while (status := (await front.client.get(f"/v1/bulk/{job}")).json())["done"] < 3:  # kept for a second
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert status["by_status"] == {"pending": 1, "completed": 2, "expired": 1}
    assert status["by_source"] == {"model": 2}
    assert status["failures"] == [{"reason": "deadline_passed", "lines": 1}]
    assert status["percent"] == 75.0
    assert status["rate_per_second"] > 0
    assert status["eta_seconds"] > 0
    download = await front.client.get(f"/v1/bulk/{job}/results")
    found = [json.loads(line) for line in download.text.splitlines()]
    assert [(each["item"], each["status"]) for each in found] == [(1, "completed"), (2, "completed"), (4, "expired")]
    assert found[0]["answer"] == "no shutdown"


async def test_a_cancelled_job_tells_the_workers_its_whole_range_at_once(front: Front) -> None:
    before = end_offsets(front.kafka, CONTROL)
    job = UUID((await front.upload(b"".join(lines(3)), idempotency_key="k")).json()["id"])
    answer = await front.client.delete(f"/v1/bulk/{job}")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    (record,) = [each for each in read_from(front.kafka, before) if front.tenant.encode() in (each.value or b"")]
    event = decode_cancel(Record(CONTROL, 0, 0, record.key, record.value, record.headers, 1))
    assert (event.request_id, event.through) == (lines_of(job).first, lines_of(job).last)
    again = await front.upload(b"".join(lines(3)), idempotency_key="k")
    assert (again.status_code, again.json()["code"]) == (409, "job_cancelled")


async def test_an_upload_whose_copy_died_is_taken_over_after_its_lease(front: Front) -> None:
    """The dead copy is one that held the job in the book and was heard of no more."""
    key_of_upload = "fleet-3"
    digest = hashlib.sha256(b"bulk\0" + key_of_upload.encode()).digest()
    async with AsyncConnectionPool(front.dsn, min_size=1, max_size=1, kwargs={"prepare_threshold": None}) as pool:
        dead: Held = await PostgresJobs(pool).begin(front.tenant, IDS.new_job(front.tenant), digest)
        busy = await front.upload(b"".join(lines(10)), idempotency_key=key_of_upload)
        assert busy.status_code == 409
        with psycopg.connect(front.dsn) as connection:  # ten seconds later
            connection.execute("UPDATE bulk_jobs SET alive_until = now() WHERE job = %s", (dead.job.job,))
        answer = await front.upload(b"".join(lines(10)), idempotency_key=key_of_upload)
        assert (answer.status_code, answer.json()["id"]) == (202, str(dead.job.job))
        assert not await PostgresJobs(pool).advance(dead, Progress(5, 5, 0, b""))
