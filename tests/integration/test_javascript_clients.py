"""The contract page's JavaScript, run by node against a real broker and, under users of its own, a real worker."""

import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ops.topics import apply_topics
from schemas.topics import REQUESTS, RESULTS
from tests.answering_thread import answering
from tests.javascript import consuming, installed_clients, needs_node_and_npm, produce
from tests.pipeline import until

pytestmark = needs_node_and_npm


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_clients(tmp_path_factory.mktemp("clients"))


def test_the_consumer_prints_the_answer_to_what_the_producer_asked(kafka: str, clients: Path, tmp_path: Path) -> None:
    apply_topics(kafka)
    stray = Producer({"bootstrap.servers": kafka})
    stray.produce(RESULTS, b"{no result")
    stray.flush(10)
    environment = {"KAFKA": kafka, "GROUP": f"test-{uuid.uuid4()}"}
    with answering(kafka, REQUESTS) as taken, consuming(clients, environment, tmp_path / "consumer.log") as printed:
        request_id = produce(clients, environment)
        until(lambda: f"{request_id} model the answer" in printed.read_text(), 60, printed.read_text)
    assert [str(request.request_id) for request in taken] == [request_id]
    assert taken[0].template == "network-config@1"


def test_a_producer_without_a_broker_says_so(clients: Path) -> None:
    with pytest.raises(AssertionError, match="not accepted, send it again"):
        produce(clients, {"KAFKA": "127.0.0.1:1"})
