"""One connection for every Kafka client: complete, quiet about its password, and nobody goes round it."""

import ast
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from pydantic import ValidationError

from producers.kafka_access import LastRefusal, explained
from producers.kafka_connection import IncompleteConnectionError, KafkaConnection, client_options
from streams.settings import Settings
from tests.unit.test_imports import MODULES

PASSWORD = "of-a-test-and-not-to-be-shown"
PRIVATE_BROKERS = ("ops/local/", "ops/chaos/", "ops/bench/")
"""What these start is on loopback, is theirs alone and asks nobody who he is."""


def test_a_bare_address_is_a_broker_that_asks_for_nothing() -> None:
    assert client_options("127.0.0.1:9092") == {"bootstrap.servers": "127.0.0.1:9092"}


def test_all_that_is_set_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "KAFKA": "a:1,b:2",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_USERNAME": "headrace-worker",
        "KAFKA_PASSWORD": PASSWORD,
        "KAFKA_CA_FILE": "ca.pem",
        "KAFKA_CERTIFICATE_FILE": "us.pem",
        "KAFKA_KEY_FILE": "us.key",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    assert client_options(Settings().kafka_connection) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "headrace-worker",
        "sasl.password": PASSWORD,
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "us.pem",
        "ssl.key.location": "us.key",
    }


def test_librdkafka_knows_every_option() -> None:
    options = client_options(KafkaConnection("127.0.0.1:1", "SASL_SSL", "SCRAM-SHA-512", "us", PASSWORD))
    assert Producer({**options, "log_level": 0}) is not None


def test_the_password_is_in_no_repr_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("HEADRACE_KAFKA_USERNAME", "us")
    monkeypatch.setenv("HEADRACE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    settings = Settings()
    assert PASSWORD not in f"{settings!r} {settings.kafka_connection!r} {settings.kafka_connection}"


def test_an_incomplete_setting_is_told_without_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("HEADRACE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(ValidationError, match="set HEADRACE_KAFKA_USERNAME") as told:
        Settings()
    assert PASSWORD not in str(told.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"protocol": "SASL_PLAINTEXT"}, "HEADRACE_KAFKA_PASSWORD"),
        ({"username": "us", "password": PASSWORD}, "HEADRACE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({"protocol": "SSL", "certificate_file": Path("us.pem")}, "HEADRACE_KAFKA_KEY_FILE"),
    ],
)
def test_what_a_protocol_needs_is_named(given: dict[str, object], missing: str) -> None:
    with pytest.raises(IncompleteConnectionError, match=missing):
        KafkaConnection("127.0.0.1:9092", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "next_step"),
    [
        (KafkaError._AUTHENTICATION, "HEADRACE_KAFKA_PASSWORD"),
        (KafkaError._SSL, "HEADRACE_KAFKA_CA_FILE"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "headrace topics acl diff"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "headrace topics acl diff"),
    ],
)
def test_a_refusal_says_what_to_do(code: int, next_step: str) -> None:
    assert next_step in explained(KafkaError(code))


def test_other_errors_are_told_as_they_are() -> None:
    assert explained(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")) == "1/1 brokers are down"


def test_a_record_that_timed_out_is_told_with_the_refusal_before_it() -> None:
    timed_out = KafkaError(KafkaError._MSG_TIMED_OUT)
    refusal = LastRefusal()
    assert "HEADRACE_KAFKA_USERNAME" not in refusal.reason_of(timed_out)
    refusal(KafkaError(KafkaError._AUTHENTICATION, "Invalid username or password"))
    assert "HEADRACE_KAFKA_USERNAME" in refusal.reason_of(timed_out)


def test_every_client_is_built_from_a_connection() -> None:
    wrong = [
        module
        for module, tree in MODULES
        if module != "producers/kafka_connection.py" and not module.startswith(PRIVATE_BROKERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == "bootstrap.servers"
    ]
    assert not wrong, "use producers.kafka_connection.client_options, which knows users and TLS too"


def test_nobody_takes_the_bare_address_from_the_settings() -> None:
    wrong = [
        f"{module}:{node.lineno}"
        for module, tree in MODULES
        if module != "streams/settings.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "kafka" and _is_settings(node.value)
    ]
    assert not wrong, "pass settings.kafka_connection on: the address alone forgets user and TLS"


def _is_settings(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _is_settings(node.func)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.lower().strip("_") == "settings"
