"""Records that name their schema, through a registry of our own making and a real broker."""

import json
from collections.abc import Iterator
from uuid import UUID, uuid5

import pytest
from confluent_kafka import TopicPartition
from pydantic import ValidationError

from ops.cli import run
from ops.topics import apply_topics
from producers.request_producer import RequestProducer
from producers.schema_registry import SchemaRegistry, SchemaRegistryError, committed_schema, registered_framing
from schemas.codec import decode_request
from schemas.framing import SCHEMA_ID_HEADER
from schemas.topics import REQUESTS
from streams.settings import Settings
from tests.kafka_reading import end_offsets, read_from
from tests.pipeline import a_question
from tests.schema_registry import Registered, schema_registry
from tests.sinks import as_record

SUBJECT = f"{REQUESTS}-value"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    with schema_registry() as running:
        monkeypatch.setenv("HEADRACE_SCHEMA_REGISTRY_URL", running.url)
        yield running


@pytest.fixture
def before(kafka: str) -> list[TopicPartition]:
    apply_topics(kafka)
    return end_offsets(kafka, REQUESTS)


def test_apply_registers_every_public_topic_and_diff_then_agrees(
    registry: Registered, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["topics", "schemas", "diff", "--json"]) == 1
    missing = json.loads(capsys.readouterr().out)["missing"]
    assert run(["topics", "schemas", "apply"]) == 0
    assert set(missing) == registry.schemas.keys()
    assert json.loads(registry.schemas[SUBJECT][0])["$id"] == "urn:headrace:request:v1"
    assert run(["topics", "schemas", "apply"]) == 0
    assert all(len(versions) == 1 for versions in registry.schemas.values())
    assert run(["topics", "schemas", "diff"]) == 0


def test_a_published_request_names_its_schema_in_a_header(
    registry: Registered, kafka: str, before: list[TopicPartition]
) -> None:
    run(["topics", "schemas", "apply"])
    request = a_question()
    with RequestProducer(kafka, frame=registered_framing(registry.url, "header")) as producer:
        producer.submit(request, wait=True)
    (record,) = read_from(kafka, before)
    guid = uuid5(UUID(int=0), committed_schema(SUBJECT))
    assert dict(record.headers)[SCHEMA_ID_HEADER] == b"\x01" + guid.bytes
    assert json.loads(record.value or b"")["request_id"] == str(request.request_id)


def test_a_published_request_may_carry_the_prefix_instead_and_is_read_all_the_same(
    registry: Registered, kafka: str, before: list[TopicPartition]
) -> None:
    run(["topics", "schemas", "apply"])
    request = a_question()
    with RequestProducer(kafka, frame=registered_framing(registry.url, "prefix")) as producer:
        producer.submit(request, wait=True)
    (record,) = read_from(kafka, before)
    assert (record.value or b"")[:1] == b"\x00"
    assert decode_request(as_record(record)).request_id == request.request_id


def test_a_publisher_registers_nothing_itself(registry: Registered) -> None:
    with pytest.raises(SchemaRegistryError, match="headrace topics schemas apply"):
        registered_framing(registry.url, "header")
    assert registry.schemas == {}


def test_a_refusal_is_told_with_the_registrys_own_words(
    registry: Registered, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.refuses = "Schema being registered is incompatible with an earlier schema"
    assert run(["topics", "schemas", "apply"]) == 1
    assert "incompatible with an earlier schema" in capsys.readouterr().err


def test_user_and_password_of_the_address_are_sent_and_never_shown(registry: Registered) -> None:
    url = registry.url.replace("http://", "http://us:s3cret@")
    known = SchemaRegistry(url)
    assert known.lookup(SUBJECT, committed_schema(SUBJECT)) is None
    assert registry.authorizations == ["Basic dXM6czNjcmV0"]
    assert "s3cret" not in repr(known)


def test_a_registry_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(SchemaRegistryError, match="HEADRACE_SCHEMA_REGISTRY_URL") as told:
        SchemaRegistry("http://us:s3cret@127.0.0.1:1").lookup(SUBJECT, "{}")
    assert "s3cret" not in str(told.value)


def test_an_address_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(SchemaRegistryError, match="http"):
        SchemaRegistry("file:///etc/passwd")


def test_framing_without_a_registry_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SCHEMA_REGISTRY_FRAMING", "header")
    with pytest.raises(ValidationError, match="HEADRACE_SCHEMA_REGISTRY_URL"):
        Settings()
