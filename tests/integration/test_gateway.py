"""`headrace gateway` as its operators run it: processes on a real broker and a real database."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest

from ops.local.kafka import kafka_server
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS, CONTROL, REQUESTS
from streams.ledger.budgets import BudgetKey
from streams.ledger.postgres_budgets import set_budget
from tests.gateway_parts import RunningGateway, own_database, running_gateway
from tests.kafka_reading import end_offsets, read_from
from tests.pipeline import RunningServer, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ASKED = {"prompt": "Which VLAN is native on port 7?"}
# Other tests of the run leave requests on the shared broker that no worker takes.
ROOMY = 10_000_000


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> str:
    dsn = own_database(postgres_dsn)
    migrate_postgres(dsn, datetime.now(UTC))
    return dsn


@pytest.fixture(scope="module")
def gateway(kafka: str, dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    apply_topics(kafka)
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, kafka, dsn, gateway_waiting_limit=ROOMY) as running:
        yield running


def requests_in(records: list[OutgoingRecord]) -> dict[UUID, PromptRequest]:
    found = [PromptRequest.model_validate_json(record.value or b"") for record in records]
    return {request.request_id: request for request in found}


def test_what_is_accepted_is_in_the_topic_already(gateway: RunningGateway, kafka: str) -> None:
    before = end_offsets(kafka, REQUESTS)
    answer = gateway.client.post("/v1/requests", json={**ASKED, "labels": {"site": "ams"}})
    written = requests_in(read_from(kafka, before))
    assert answer.status_code == 202, answer.text
    request = written[UUID(answer.json()["request_id"])]
    assert (request.tenant, request.labels) == ("local", {"site": "ams"})


def test_a_request_just_accepted_is_known_to_every_copy(
    gateway: RunningGateway, kafka: str, dsn: str, tmp_path: Path
) -> None:
    with running_gateway(tmp_path, kafka, dsn, gateway_waiting_limit=ROOMY) as other:
        for _ in range(20):
            location = gateway.client.post("/v1/requests", json=ASKED).headers["location"]
            told = other.client.get(location)
            assert (told.status_code, told.json()["status"]) == (200, "pending")
        assert other.client.get(f"/v1/requests/{uuid4()}").status_code == 404


def test_many_at_once_with_one_idempotency_key_are_one_request(gateway: RunningGateway, kafka: str) -> None:
    before = end_offsets(kafka, REQUESTS)
    key, body = {"Idempotency-Key": str(uuid4())}, {"prompt": f"only once {uuid4()}"}

    def submit(_: int) -> httpx2.Response:
        return gateway.client.post("/v1/requests", json=body, headers=key)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(24)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = {answer.json()["request_id"] for answer in answers if answer.status_code == 202}
    written = [json.loads(record.value or b"") for record in read_from(kafka, before)]
    published = [each["request_id"] for each in written if each["messages"][0]["content"] == body["prompt"]]
    assert published == list(accepted)
    assert gateway.client.post("/v1/requests", json=body, headers=key).headers["idempotent-replayed"] == "true"
    assert gateway.client.post("/v1/requests", json=ASKED, headers=key).status_code == 422


def test_a_row_and_its_calls_are_told_and_listed(gateway: RunningGateway, dsn: str) -> None:
    request_id = UUID(gateway.client.post("/v1/requests", json=ASKED).json()["request_id"])
    device = f"ams-{uuid4()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ledger_calls (call_id, key, epoch, request_id, tenant, model, state, sent_at)"
            " VALUES (%s, 'k', 1, %s, 'local', 'm', 'sent', now())",
            (uuid4(), request_id),
        )
        told = gateway.client.get(f"/v1/requests/{request_id}").json()
        assert (told["status"], told["attempts"]) == ("processing", 1)
        connection.execute(
            "INSERT INTO requests (request_id, tenant, status, accepted_at, completed_at, answer, labels, cost_usd)"
            " VALUES (%s, 'local', 'completed', now(), now(), 'VLAN 7', %s, 0.0000012)",
            (request_id, json.dumps({"device_name": device})),
        )
    told = gateway.client.get(f"/v1/requests/{request_id}").json()
    assert (told["status"], told["answer"]["text"], told["cost_usd"]) == ("completed", "VLAN 7", "0.0000012")
    listed = gateway.client.get("/v1/requests", params={"device": device, "status": "completed"}).json()
    assert [each["request_id"] for each in listed["requests"]] == [str(request_id)]
    assert gateway.client.delete(f"/v1/requests/{request_id}").status_code == 409


def test_whoever_has_nothing_left_is_refused_before_anything_is_published(
    gateway: RunningGateway, kafka: str, dsn: str
) -> None:
    asked = {**ASKED, "user_id": f"broke-{uuid4()}"}
    with psycopg.connect(dsn, autocommit=True) as connection:
        set_budget(connection, BudgetKey("local", "user", asked["user_id"], "day"), None, Decimal(0))
    until(lambda: gateway.client.post("/v1/requests", json=asked).status_code == 402)
    before = end_offsets(kafka, REQUESTS)
    refused = gateway.client.post("/v1/requests", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_spent")
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 60 * 60
    assert end_offsets(kafka, REQUESTS) == before
    assert gateway.client.post("/v1/requests", json=ASKED).status_code == 202


def test_a_cancellation_is_on_the_control_topic(gateway: RunningGateway, kafka: str) -> None:
    before = end_offsets(kafka, CONTROL)
    request_id = gateway.client.post("/v1/requests", json=ASKED).json()["request_id"]
    assert gateway.client.delete(f"/v1/requests/{request_id}").status_code == 202
    assert [record.key for record in read_from(kafka, before)] == [request_id.encode()]


def test_the_old_routes_publish_to_both_lanes(gateway: RunningGateway, kafka: str) -> None:
    before = end_offsets(kafka, BULK_REQUESTS)
    device = {"device_name": "ams-01", "requirements": "VLAN 10"}
    job = gateway.client.post("/api/generate-config", json=device).json()["job_id"]
    assert gateway.client.get(f"/api/job-status/{job}").json()["status"] == "pending"
    jobs = gateway.client.post("/api/bulk-generate", json={"requests": [device] * 50}).json()["jobs"]
    assert {str(each) for each in requests_in(read_from(kafka, before))} == {each["job_id"] for each in jobs}
    assert gateway.client.get("/api/health").json()["status"] == "healthy"


def test_metrics_name_routes_and_never_what_callers_sent(gateway: RunningGateway) -> None:
    gateway.client.get("/v1/requests/s3cret-path")
    gateway.client.get("/s3cret-path")
    gateway.client.get("/v1/requests", params={"user": "s3cret-user"})
    figures = gateway.client.get("/metrics").text
    assert 'headrace_gateway_seconds_count{route="/v1/requests/{request_id}",status="400"}' in figures
    assert "s3cret" not in figures
    assert "s3cret" not in gateway.log.read_text()


def test_the_key_is_taken_from_a_url_as_standard_clients_send_it(gateway: RunningGateway) -> None:
    key = gateway.client.headers["authorization"].removeprefix("Bearer ")
    address = gateway.url.removeprefix("http://")
    with httpx2.Client(trust_env=False) as stranger:
        assert stranger.get(f"http://key:{key}@{address}/v1/requests").status_code == 200
        assert stranger.get(f"http://key:wrong@{address}/v1/requests").status_code == 401
        assert stranger.get(f"{gateway.url}/livez").headers.get("server", "") == ""


def test_a_full_lane_is_refused_with_when_to_come_again_and_nothing_is_lost(
    kafka: str, dsn: str, tmp_path: Path
) -> None:
    apply_topics(kafka)
    before = end_offsets(kafka, BULK_REQUESTS)
    waiting = _waiting(kafka, BULK_REQUESTS)
    with running_gateway(tmp_path, kafka, dsn, gateway_waiting_limit=waiting + 20, gateway_tenant_share=1) as gateway:
        answers = [gateway.client.post("/v1/requests?lane=bulk", json=ASKED) for _ in range(30)]
    accepted = [answer.json()["request_id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert len(accepted) == 20
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "backlog")}
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert {str(each) for each in requests_in(read_from(kafka, before))} == set(accepted)


def _waiting(kafka: str, topic: str) -> int:
    from ops.local.lag import lag_per_topic

    return lag_per_topic(kafka)[topic]


def test_a_broker_that_goes_away_is_told_quickly_and_nothing_is_accepted_meanwhile(dsn: str, tmp_path: Path) -> None:
    broker = RunningServer(kafka_server(tmp_path / "kafka"), tmp_path / "kafka.log")
    broker.start()
    try:
        apply_topics(broker.endpoint)
        with running_gateway(tmp_path, broker.endpoint, dsn, gateway_confirm_seconds=2) as gateway:
            assert gateway.client.post("/v1/requests", json=ASKED).status_code == 202
            with broker.frozen():
                silent = gateway.client.post("/v1/requests", json=ASKED)
                assert (silent.status_code, silent.json()["code"]) in {(503, "outcome_unknown"), (503, "broker_away")}
                until(lambda: gateway.client.get("/readyz").status_code == 503)
                away = gateway.client.post("/v1/requests", json=ASKED)
                assert (away.status_code, away.json()["code"]) == (503, "broker_away")
                assert int(away.headers["retry-after"]) >= 1
                assert "kafka" in gateway.client.get("/readyz").json()["missing"]
                assert gateway.client.get("/livez").status_code == 200
            until(lambda: gateway.client.post("/v1/requests", json=ASKED).status_code == 202, 60)
            assert gateway.client.get("/readyz").status_code == 200
    finally:
        broker.stop()


def test_a_database_that_is_away_stops_lookups_and_keys_but_no_other_submission(kafka: str, tmp_path: Path) -> None:
    apply_topics(kafka)
    nowhere = "postgresql://headrace@127.0.0.1:9/headrace"
    with running_gateway(tmp_path, kafka, nowhere, gateway_waiting_limit=ROOMY) as gateway:
        accepted = gateway.client.post("/v1/requests", json=ASKED)
        assert accepted.status_code == 202
        keyed = gateway.client.post("/v1/requests", json=ASKED, headers={"Idempotency-Key": "one"})
        assert (keyed.status_code, keyed.json()["code"]) == (503, "idempotency_unavailable")
        status = gateway.client.get(accepted.headers["location"])
        assert (status.status_code, status.json()["code"]) == (503, "store_unavailable")
        ready = gateway.client.get("/readyz")
        assert ready.status_code == 200
        assert "postgres" in ready.json()["degraded"]


def test_sigterm_ends_it_well_and_finishes_what_was_taken(kafka: str, dsn: str, tmp_path: Path) -> None:
    apply_topics(kafka)
    before = end_offsets(kafka, REQUESTS)
    with running_gateway(tmp_path, kafka, dsn, gateway_waiting_limit=ROOMY) as gateway:
        accepted: list[str] = []

        def submit() -> None:
            with httpx2.Client(base_url=gateway.url, headers=gateway.client.headers, trust_env=False) as client:
                while True:
                    try:
                        answer = client.post("/v1/requests", json=ASKED)
                    except httpx2.HTTPError:
                        return
                    if answer.status_code == 202:
                        accepted.append(answer.json()["request_id"])

        with ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(submit) for _ in range(4)]
            until(lambda: len(accepted) > 50)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(20) == 0
            for each in busy:
                each.result(10)
    assert set(accepted) <= {str(each) for each in requests_in(read_from(kafka, before))}


def test_without_a_secret_production_does_not_start(kafka: str, tmp_path: Path) -> None:
    environment = {"HEADRACE_ENVIRONMENT": "production", "HEADRACE_KAFKA": kafka, "HEADRACE_HOME": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-m", "ops.cli", "gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "HEADRACE_GATEWAY_SECRET" in told.stderr


STREAMS = "/stream$|/events$"


@pytest.mark.parametrize(
    "options",
    [
        ("--exclude-path-regex", STREAMS, "--max-examples", "40"),
        # What streams take has no end to wait for; tests/integration/test_gateway_stream.py asks that.
        ("--include-path-regex", STREAMS, "--max-examples", "20", "--mode", "negative"),
    ],
    ids=["all", "streams"],
)
def test_no_answer_of_any_question_is_undocumented_or_a_failure_of_ours(
    gateway: RunningGateway, tmp_path: Path, options: tuple[str, ...]
) -> None:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
        "unsupported_method,allow_header_conformance,negative_data_rejection,missing_required_header"
    )
    # What is asked to wait would wait for a worker that is not there.
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"query.wait" = 0\n')
    told = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{gateway.url}/openapi.json",
            "--header", f"Authorization: {gateway.client.headers['authorization']}",
            "--checks", checks, "--phases", "examples,coverage,fuzzing", *options,
            "--request-timeout", "20", "--seed", "7", "--generation-database", "none",
        ],
        capture_output=True, text=True, timeout=170, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-6000:]
