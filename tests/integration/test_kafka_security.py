"""Users, rights and TLS on a real broker: each process can do its work and nothing else; refusals say what to do."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from ops.cli import run
from ops.local import processes
from ops.local.part import Command, Stop
from ops.local.ports import choose_port
from ops.migrations.apply import migrate_clickhouse, migrate_postgres
from ops.topics import ClusterUnreachableError, diff_topics
from producers.kafka_access import KafkaRefusedError
from producers.kafka_connection import client_options
from producers.publisher import PublishError
from producers.request_producer import RequestProducer
from schemas.acls import ROLES, Role, RoleName
from schemas.topics import REQUESTS, TOPICS
from streams.sinks.clickhouse_store import clickhouse_client
from streams.subscribe import ResultSubscriber
from tests.javascript import consuming, installed_clients, needs_node_and_npm, produce
from tests.pipeline import a_question, until
from tests.secured_kafka import HAS_OPENSSL, SecuredKafka, password_of, secured_kafka

needs_openssl = pytest.mark.skipif(not HAS_OPENSSL, reason="openssl, which makes the test's certificates, is not there")
Processes = contextlib.ExitStack
STOP = Stop(grace_seconds=40)
WRONG = "not-the-password"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured")) as running:
        yield running


@pytest.fixture(scope="module")
def stores(redis_url: str, postgres_dsn: str, clickhouse_url: str, model_url: str) -> dict[str, str]:
    """Everything but Kafka, as settings; the database is this module's own."""
    name = f"secured_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(dsn, datetime.now(UTC))
    migrate_clickhouse(clickhouse_url)
    return {
        "HEADRACE_REDIS": redis_url,
        "HEADRACE_POSTGRES": dsn,
        "HEADRACE_CLICKHOUSE": clickhouse_url,
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": "rehearsal",
    }


@contextlib.contextmanager
def headrace(folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Path]:
    """A running `headrace` process; its log."""
    name = "-".join(arguments)
    own = {
        "HEADRACE_HOME": str(folder / name),
        "HEADRACE_METRICS_PORT": str(choose_port()),
        "HEADRACE_SESSION_TIMEOUT_SECONDS": "6",
    }
    log = folder / f"{name}.log"
    command = Command((sys.executable, "-m", "ops.cli", *arguments), {**environment, **own})
    process = processes.start(command, STOP, log)
    try:
        yield log
    finally:
        processes.end([(process, STOP)])


def test_a_request_is_answered_by_processes_each_under_its_own_user(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path
) -> None:
    working: tuple[tuple[RoleName, tuple[str, ...]], ...] = (
        ("worker", ("worker", "--lane", "interactive")),
        ("retries", ("retries",)),
        ("sink-postgres", ("sink", "postgres")),
        ("sink-clickhouse", ("sink", "clickhouse")),
    )
    request = a_question()
    with Processes() as running:
        logs = [
            running.enter_context(headrace(tmp_path, stores | kafka.environment(role), *arguments))
            for role, arguments in working
        ]
        results = running.enter_context(ResultSubscriber(kafka.connection("subscriber"), tenant=request.tenant))
        with RequestProducer(kafka.connection("producer")) as producer:
            producer.submit(request, wait=True)
        answered = next((each for each in results.results(60) if each.request_id == request.request_id), None)
        told = "\n".join(log.read_text()[-2000:] for log in logs)
        assert answered is not None, told
        assert answered.status == "completed", told
        until(lambda: _status_in_postgres(stores, request.request_id) == "completed", 60, lambda: told)
        until(lambda: _rows_in_clickhouse(stores, request.request_id) == 1, 60, lambda: told)
    assert "uthorization failed" not in "\n".join(log.read_text() for log in logs)


@needs_node_and_npm
def test_a_javascript_client_under_its_own_user_is_answered(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path
) -> None:
    clients = installed_clients(tmp_path / "clients")
    environments = {role: _for_javascript(kafka, role) for role in ("producer", "subscriber")}
    with (
        headrace(tmp_path, stores | kafka.environment("worker"), "worker", "--lane", "interactive") as log,
        consuming(clients, environments["subscriber"], tmp_path / "consumer.log") as printed,
    ):
        request_id = produce(clients, environments["producer"])
        until(lambda: request_id in printed.read_text(), 60, lambda: printed.read_text() + log.read_text()[-2000:])
    told = printed.read_text()
    assert f"{request_id} model " in told
    assert "hostname osl-01-acc-03" in told


def test_the_gateway_under_its_own_user_publishes_what_it_takes_and_tells_the_answer(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path
) -> None:
    port, key = choose_port(), "0of0a0test0gateway0key"
    ours = {
        "HEADRACE_GATEWAY_PORT": str(port),
        "HEADRACE_GATEWAY_KEY": key,
        "HEADRACE_GATEWAY_SECRET": uuid.uuid4().hex,
    }
    question = json.dumps({"messages": [{"role": "user", "content": f"Which VLAN is native on {uuid.uuid4()}?"}]})
    with (
        headrace(tmp_path, stores | kafka.environment("worker"), "worker", "--lane", "interactive") as worker,
        headrace(tmp_path, stores | kafka.environment("gateway") | ours, "gateway") as log,
    ):
        client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}, timeout=90
        )
        until(lambda: _is_ready(client), 60, lambda: log.read_text()[-2000:])
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/requests", params={"wait": 25}, content=question.encode(), headers=headers)
        told = answer.text + log.read_text()[-2000:] + worker.read_text()[-2000:]
        assert answer.status_code == 200, told
        assert answer.json()["status"] == "completed", told
        assert "uthorization failed" not in log.read_text()


def _is_ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.HTTPError:
        return False


def _for_javascript(kafka: SecuredKafka, role: RoleName) -> dict[str, str]:
    connection = kafka.connection(role)
    return {
        "KAFKA": connection.servers,
        "KAFKA_USERNAME": connection.username or "",
        "KAFKA_PASSWORD": connection.password or "",
        "KAFKA_CA_FILE": str(connection.ca_file or ""),
    }


def _status_in_postgres(stores: Mapping[str, str], request_id: uuid.UUID) -> str | None:
    with psycopg.connect(stores["HEADRACE_POSTGRES"]) as connection:
        row = connection.execute("SELECT status FROM requests WHERE request_id = %s", (request_id,)).fetchone()
    return row[0] if row else None


def _rows_in_clickhouse(stores: Mapping[str, str], request_id: uuid.UUID) -> int:
    client = clickhouse_client(stores["HEADRACE_CLICKHOUSE"])
    try:
        rows = client.query("SELECT count() FROM results WHERE request_id = {id:UUID}", {"id": str(request_id)})
        return int(rows.result_rows[0][0])
    finally:
        client.close()


def _declared(role: Role, operation: str) -> set[str]:
    return {
        topic.name
        for topic in TOPICS
        for grant in role.grants
        if grant.resource == "topic" and operation in grant.operations
        if (topic.name.startswith(grant.name) if grant.prefixed else topic.name == grant.name)
    }


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_writes_exactly_the_declared_topics(kafka: SecuredKafka, role: Role) -> None:
    taken: set[str] = set()
    refused: set[str] = set()

    def note(error: KafkaError | None, message: object) -> None:
        topic = message.topic()  # type: ignore[attr-defined]
        assert error is None or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        (taken if error is None else refused).add(topic)

    # Without any topic to write an idempotent producer ends for good at its first refusal.
    options = {"enable.idempotence": bool(_declared(role, "write")), "log_level": 0}
    producer = Producer({**client_options(kafka.connection(role.name)), **options})
    for topic in TOPICS:
        producer.produce(topic.name, b"{}", partition=0, on_delivery=note)
    assert producer.flush(60) == 0
    assert taken == _declared(role, "write")
    assert taken | refused == {topic.name for topic in TOPICS}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_reads_exactly_the_declared_topics(kafka: SecuredKafka, role: Role) -> None:
    root = Producer(client_options(kafka.root))
    for topic in TOPICS:
        root.produce(topic.name, b"{}", partition=0)
    assert root.flush(60) == 0
    group = next((grant.name for grant in role.grants if grant.resource == "group"), "headrace-none")
    consumer = Consumer({**client_options(kafka.connection(role.name)), "group.id": group, "log_level": 0})
    # A topic that may not even be described is refused here; the consumer would wait for it without a word.
    refused = {topic.name for topic in TOPICS if _is_hidden(consumer, topic.name)}
    consumer.assign([TopicPartition(topic.name, 0, 0) for topic in TOPICS if topic.name not in refused])
    read: set[str] = set()
    deadline = time.monotonic() + 60
    while len(read | refused) < len(TOPICS) and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        error = message.error()
        if error is None:
            read.add(message.topic() or "")
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            refused.add(message.topic() or "")
    consumer.close()
    assert read == _declared(role, "read")
    assert read | refused == {topic.name for topic in TOPICS}


def _is_hidden(consumer: Consumer, topic: str) -> bool:
    error = consumer.list_topics(topic, timeout=20).topics[topic].error
    return error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("command", [("sink", "postgres"), ("worker",), ("retries",)], ids=" ".join)
def test_a_process_under_a_user_that_may_not_read_its_topics_ends_and_says_what_to_do(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    environment = stores | kafka.environment("sink-clickhouse")  # whose user may read results alone
    ended = ended_by_itself(environment, tmp_path, *command)
    assert ended.returncode == 1, ended.stderr
    assert "refuses headrace-sink-clickhouse: llm." in ended.stderr
    assert "Topic authorization failed; this user may not do that: see `headrace topics acl diff`" in ended.stderr


def test_a_sink_that_may_see_requests_and_not_read_them_says_what_to_do(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path
) -> None:
    environment = stores | kafka.environment("gateway")  # whose user writes requests, and so may describe them
    with headrace(tmp_path, environment, "sink", "postgres") as log:
        until(lambda: "headrace topics acl diff" in log.read_text(), 60, lambda: log.read_text()[-2000:])
        assert "uthorization failed" in log.read_text()


def ended_by_itself(environment: Mapping[str, str], home: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *command],
        env={**os.environ, **environment, "HEADRACE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [("worker",), ("retries",), ("sink", "postgres"), ("topics", "diff"), ("topics", "acl", "diff"), ("watch",)],
    ids=" ".join,
)
def test_a_wrong_password_ends_a_process_with_what_to_set(
    kafka: SecuredKafka, stores: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    ended = ended_by_itself(stores | kafka.environment("worker", WRONG), tmp_path, *command)
    assert ended.returncode == 1, ended.stderr
    assert "error: Kafka at" in ended.stderr
    assert "HEADRACE_KAFKA_PASSWORD" in ended.stderr
    assert WRONG not in ended.stdout + ended.stderr


def test_a_producer_with_a_wrong_password_is_told_why_nothing_was_confirmed(kafka: SecuredKafka) -> None:
    producer = RequestProducer(kafka.connection("producer", WRONG), delivery_timeout_seconds=5, log_level=0)
    with pytest.raises(PublishError, match="HEADRACE_KAFKA_PASSWORD"):
        producer.submit(a_question(), wait=True)


def test_a_producer_that_may_not_write_a_topic_is_told_so(kafka: SecuredKafka) -> None:
    producer = RequestProducer(kafka.connection("subscriber"), delivery_timeout_seconds=20, log_level=0)
    with pytest.raises(PublishError, match=f"{REQUESTS}: .*headrace topics acl diff"):
        producer.submit(a_question(), wait=True)


@needs_openssl
def test_a_broker_whose_certificate_another_authority_signed_is_refused(kafka: SecuredKafka) -> None:
    with pytest.raises(KafkaRefusedError, match="HEADRACE_KAFKA_CA_FILE"):
        ResultSubscriber(replace(kafka.connection("subscriber"), ca_file=kafka.other_ca))


@needs_openssl
def test_a_client_that_speaks_no_tls_is_told_to_look_at_the_protocol(kafka: SecuredKafka) -> None:
    with pytest.raises(ClusterUnreachableError, match="HEADRACE_KAFKA_SECURITY_PROTOCOL"):
        diff_topics(kafka.root.servers)


def test_users_without_tls_are_taken_where_the_broker_has_none(tmp_path: Path) -> None:
    with secured_kafka(tmp_path, with_tls=False) as plain:
        assert plain.root.protocol == "SASL_PLAINTEXT"
        with (
            ResultSubscriber(plain.connection("subscriber")) as results,
            RequestProducer(plain.connection("producer")) as producer,
        ):
            producer.submit(a_question(), wait=True)
            assert results.poll(0.1) is None


@pytest.fixture
def _as_operator(kafka: SecuredKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kafka.environment("operator").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_as_operator")
def test_acl_apply_says_that_the_rights_are_as_declared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["topics", "acl", "diff"]) == 0
    assert run(["topics", "acl", "apply"]) == 0
    assert capsys.readouterr().out.count("the rights are as declared") == 2


@pytest.mark.usefixtures("_as_operator")
def test_a_right_beyond_the_declaration_is_named_and_revoked_on_request(
    kafka: SecuredKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = AclBinding(
        ResourceType.TOPIC,
        REQUESTS,
        ResourcePatternType.LITERAL,
        "User:headrace-sink-clickhouse",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    root = AdminClient(client_options(kafka.root))  # held: one that is let go gives no answer
    root.create_acls([beyond])[beyond].result(30)
    assert run(["topics", "acl", "diff", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(each["user"], each["name"]) for each in told["surplus"]] == [("headrace-sink-clickhouse", REQUESTS)]
    assert told["missing"] == []
    assert run(["topics", "acl", "apply", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["remaining"]) == 1
    assert run(["topics", "acl", "apply", "--prune", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["revoked"]) == 1
    until(lambda: run(["topics", "acl", "diff"]) == 0)


@pytest.mark.usefixtures("_as_operator")
def test_a_user_made_by_apply_can_do_what_its_role_may(
    kafka: SecuredKafka, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = uuid.uuid4().hex
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"billing-portal": secret}))
    assert run(["topics", "acl", "apply", "--user", "producer=billing-portal", "--passwords", str(passwords)]) == 0
    with RequestProducer(replace(kafka.connection("producer"), username="billing-portal", password=secret)) as producer:
        producer.submit(a_question(), wait=True)
    told = capfd.readouterr()
    assert "password billing-portal" in told.out
    assert secret not in told.out + told.err


@pytest.mark.usefixtures("_as_operator")
def test_a_password_for_nobody_we_know_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_USER_PASSWORDS", json.dumps({"mallory": password_of("mallory")}))
    assert run(["topics", "acl", "apply"]) == 2
    told = capsys.readouterr().err
    assert "mallory, who has no role" in told
    assert password_of("mallory") not in told
