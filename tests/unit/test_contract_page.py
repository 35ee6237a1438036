"""The contract page is true: its examples are taken by the code, its tables name what there is."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import get_args
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from schemas import documents
from schemas.acls import ROLES
from schemas.codec import decode_cancel, decode_request
from schemas.control import CANCEL_TYPE, CancelRequest
from schemas.dead_letter import REASONS, DeadLetterHeaders
from schemas.request import REQUEST_TYPE, CachePolicy, PromptRequest
from schemas.result import RESULT_TYPE, ErrorDetail, PromptResult, Source, Status, Timing, Usage
from schemas.templates import TEMPLATES
from schemas.topics import CONTROL, MAX_VALUE_BYTES, REQUESTS, TOPICS
from tests.unit.events import a_record

PAGE = (documents.FOLDER / "README.md").read_text()
CLIENTS = documents.FOLDER.parent / "tests" / "clients"
BLOCKS = re.findall(r"^```(\w+ \w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE))
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def blocks(kind: str) -> list[str]:
    found = [text for name, text in BLOCKS if name == kind]
    assert found
    return found


def test_the_request_examples_are_requests() -> None:
    schema = Draft202012Validator(json.loads((documents.FOLDER / "json" / "request.v1.json").read_text()))
    for example in blocks("json request"):
        schema.validate(json.loads(example))
        assert decode_request(a_record(example.encode()))


def test_the_result_example_is_a_result() -> None:
    schema = Draft202012Validator(json.loads((documents.FOLDER / "json" / "result.v1.json").read_text()))
    for example in blocks("json result"):
        schema.validate(json.loads(example))
        assert PromptResult.model_validate_json(example)


def test_the_cancellation_example_is_one() -> None:
    schema = Draft202012Validator(json.loads((documents.FOLDER / "json" / "cancel.v1.json").read_text()))
    for example in blocks("json cancel"):
        schema.validate(json.loads(example))
        assert decode_cancel(a_record(example.encode(), topic=CONTROL))


def test_what_kcat_sends_is_a_request() -> None:
    command = blocks("sh kcat")[0]
    for sent in re.findall(r"echo '(.*?)'", command):
        assert decode_request(a_record(sent.encode()))
    assert set(re.findall(r"-t (\S+)", command)) <= {topic.name for topic in TOPICS}


def test_what_curl_sends_is_a_request_but_for_what_the_gateway_adds() -> None:
    for sent in re.findall(r"-d '(.*?)'", blocks("sh curl")[0]):
        added = {"request_id": str(uuid4()), "tenant": "meridian"}
        assert decode_request(a_record(json.dumps({**json.loads(sent), **added}).encode()))


def test_the_rights_told_are_the_declared_ones() -> None:
    told = PAGE[PAGE.index("## On a cluster with users") : PAGE.index("## Schema registry")]
    for role in ROLES:
        if role.name in {"producer", "subscriber"}:
            (row,) = re.findall(rf"^\| {role.name} \|.*$", told, re.MULTILINE)
            assert set(re.findall(r"`([\w.-]+)`", row)) == {grant.name for grant in role.grants}


def test_the_python_producer_publishes_a_request() -> None:
    cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})  # librdkafka's own broker
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    address = f"{broker.host}:{broker.port}"
    program = blocks("python producer")[0].replace("127.0.0.1:9092", address)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    consumer = Consumer({"bootstrap.servers": address, "group.id": "page", "auto.offset.reset": "earliest"})
    consumer.subscribe([REQUESTS])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.error() is None
    request = decode_request(a_record(message.value()))
    assert TEMPLATES[request.template or ""].render(request.variables)


@pytest.mark.parametrize("name", ["kafka", "producer", "consumer"])
def test_the_javascript_is_what_the_tests_run(name: str) -> None:
    assert blocks(f"js {name}") == [(CLIENTS / f"{name}.js").read_text()]


def test_no_address_of_a_registry_stands_in_the_clients_lock_file() -> None:
    lock = json.loads((CLIENTS / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "://" not in json.dumps(lock)


@needs_node
def test_the_javascript_is_javascript() -> None:
    for program in [*blocks("js kafka"), *blocks("js producer"), *blocks("js consumer")]:
        subprocess.run(["node", "--check", "-"], input=program.encode(), check=True, timeout=30)


@needs_node
def test_the_javascript_producer_builds_a_request() -> None:
    program = blocks("js producer")[0]
    request = program[program.index("const request") : program.index("async function")]
    script = f"const {{ randomUUID }} = require('node:crypto')\n{request}\nconsole.log(JSON.stringify(request))"
    built = subprocess.run(["node", "-e", script], check=True, capture_output=True, timeout=30).stdout
    decoded = decode_request(a_record(built))
    assert TEMPLATES[decoded.template or ""].render(decoded.variables)


@pytest.mark.parametrize("model", [PromptRequest, PromptResult, Usage, Timing, ErrorDetail, CancelRequest])
def test_every_field_is_explained(model: type[BaseModel]) -> None:
    explained = NAMED | set(re.findall(r'"(\w+)":', PAGE))
    assert model.model_fields.keys() <= explained


def test_every_value_a_reader_may_meet_is_named() -> None:
    headers = {field.alias for field in DeadLetterHeaders.model_fields.values()}
    policies = {f"cache.{name}" for name in CachePolicy.model_fields}
    assert {*get_args(Status), *get_args(Source), *REASONS, *headers, *policies} <= NAMED
    assert {REQUEST_TYPE, RESULT_TYPE, CANCEL_TYPE, *TEMPLATES} <= NAMED


def test_the_topics_and_limits_are_the_declared_ones() -> None:
    rows = re.findall(r"^\| `(llm\.[\w.-]+)` \|.*\| (\d+) days? \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {topic.name: str(topic.retention_ms // 86_400_000) for topic in TOPICS}
    assert f"{MAX_VALUE_BYTES:,} bytes" in PAGE


def test_links_lead_somewhere_and_headings_are_unique() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        assert (documents.FOLDER / target).exists()
    headings = sorted(re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE))
    assert all(one != other for one, other in pairwise(headings))
