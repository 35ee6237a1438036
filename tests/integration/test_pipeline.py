"""A worker process on a real broker answers what anybody may publish, and survives what nobody should."""

import json
from collections.abc import Iterator
from functools import partial
from uuid import UUID

import pytest
from confluent_kafka import Message, Producer

from schemas.record import OutgoingRecord
from schemas.request import REQUEST_TYPE, PromptRequest
from schemas.topics import BULK_REQUESTS, DEAD_LETTERS, REQUESTS
from streams import metrics
from tests.broken_records import BROKEN, SECRET, UNREADABLE, Broken, publish_unreadable
from tests.kafka_reading import end_offsets, read_from
from tests.pipeline import Pipeline, Worker, a_question, running_pipeline, until

pytestmark = pytest.mark.timeout(120)

LANES = pytest.mark.parametrize("topic", [REQUESTS, BULK_REQUESTS])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("pipeline")) as running:
        yield running


@pytest.fixture(scope="module")
def worker(pipeline: Pipeline) -> Iterator[Worker]:
    """Serves both lanes; without a cache of its own, so that the shared one is looked into each time."""
    with pipeline.retries(), pipeline.worker(local_cache_seconds=0, retry_delays_seconds="[0.2, 0.4]") as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet_model(pipeline: Pipeline, worker: Worker) -> None:
    assert worker.process.poll() is None
    pipeline.model.reset()


@LANES
@pytest.mark.parametrize("key", [None, b"core-sw-07"])
def test_bare_json_without_headers_is_answered(pipeline: Pipeline, topic: str, key: bytes | None) -> None:
    asked = UUID("0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04")
    document = {"request_id": str(asked), "tenant": "kcat", "messages": [{"role": "user", "content": "Native VLAN?"}]}
    with pipeline.following("kcat") as results:
        producer = Producer({"bootstrap.servers": pipeline.kafka})
        producer.produce(topic, json.dumps(document), key=key)
        assert producer.flush(10) == 0
        found = results.wait_for([PromptRequest.model_validate(document)])[asked]
    assert found.status == "completed"
    assert found.answer is not None
    assert found.answer.text


@LANES
def test_a_structured_event_is_answered(pipeline: Pipeline, topic: str) -> None:
    request = a_question("structured")
    event = {
        "specversion": "1.0",
        "type": REQUEST_TYPE,
        "source": "/network/portal",
        "id": str(request.request_id),
        "data": request.model_dump(mode="json", exclude_none=True),
    }
    with pipeline.following("structured") as results:
        producer = Producer({"bootstrap.servers": pipeline.kafka})
        headers = {"content-type": b"application/cloudevents+json; charset=utf-8"}
        producer.produce(topic, json.dumps(event), headers=headers)  # type: ignore[arg-type]  # dicts are invariant
        assert producer.flush(10) == 0
        assert results.wait_for([request])[request.request_id].status == "completed"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_requests_in_every_codec_are_answered(pipeline: Pipeline, codec: str) -> None:
    requests = [a_question(codec) for _ in range(20)]
    with pipeline.following(codec) as results:
        pipeline.ask(requests, **{"compression.type": codec})
        answered = results.wait_for(requests)
    assert {result.status for result in answered.values()} == {"completed"}


PARTITION = 3


def test_each_broken_record_ends_as_one_dead_letter_and_costs_no_good_one_around_it(
    pipeline: Pipeline, worker: Worker
) -> None:
    good = [a_question("around") for _ in range(len(BROKEN) + 2)]
    dead_from = end_offsets(pipeline.kafka, DEAD_LETTERS)
    with pipeline.following("around") as results:
        places = _publish_mixed(pipeline.kafka, good)
        answered = results.wait_for(good)
    assert {result.status for result in answered.values()} == {"completed"}
    until(lambda: pipeline.lag() == 0)
    letters = read_from(pipeline.kafka, dead_from)
    by_offset = {int(_header(letter, "x-original-offset")): letter for letter in letters}
    assert [broken.name for broken, offset in places if offset not in by_offset] == []
    assert len(letters) == len(places)
    for broken, offset in places:
        _check_letter(by_offset[offset], broken)
    assert SECRET not in worker.log.read_text()


def _publish_mixed(kafka: str, good: list[PromptRequest]) -> list[tuple[Broken, int]]:
    """A good record before, between and after all broken ones, in one partition; where the broken ones lie."""
    producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 2_000_000})
    places: list[tuple[Broken, int]] = []
    for request, broken in zip(good, BROKEN, strict=False):
        producer.produce(REQUESTS, request.model_dump_json(exclude_none=True), partition=PARTITION)
        producer.produce(
            REQUESTS,
            broken.value,
            key=b"k",
            partition=PARTITION,
            headers=list(broken.headers),
            on_delivery=partial(_note, places, broken),
        )
    assert producer.flush(20) == 0
    places.append((UNREADABLE, publish_unreadable(kafka, REQUESTS, PARTITION)))
    for request in good[len(BROKEN) :]:
        producer.produce(REQUESTS, request.model_dump_json(exclude_none=True), partition=PARTITION)
    assert producer.flush(20) == 0
    return places


def _note(places: list[tuple[Broken, int]], broken: Broken, error: object, message: Message) -> None:
    assert error is None
    places.append((broken, message.offset() or 0))


def _check_letter(letter: OutgoingRecord, broken: Broken) -> None:
    assert _header(letter, "x-error-type") == broken.reason, broken.name
    assert letter.value == broken.value, broken.name
    assert _header(letter, "x-original-topic") == REQUESTS
    assert _header(letter, "x-original-partition") == str(PARTITION)
    assert _header(letter, "x-error-message")
    assert SECRET not in repr(letter.headers), broken.name


def _header(letter: OutgoingRecord, name: str) -> str:
    return (dict(letter.headers)[name] or b"").decode()


@pytest.mark.parametrize("outage", ["stopped", "frozen"])
def test_without_the_shared_cache_requests_are_answered_and_with_it_hits_return(
    pipeline: Pipeline, outage: str
) -> None:
    before, during, after = ([a_question(outage) for _ in range(5)] for _ in range(3))
    with pipeline.following(outage) as results:
        pipeline.ask(before)
        results.wait_for(before)
        with getattr(pipeline.shared_cache, outage)():
            pipeline.ask(during)
            lost = results.wait_for(during)
        assert {result.source for result in lost.values()} == {"model"}
        pipeline.ask(after)
        results.wait_for(after)
        _again_until_hits(pipeline, after)


def _again_until_hits(pipeline: Pipeline, answered: list[PromptRequest]) -> None:
    """Ask the same under new ids; a client that met the outage may need a try to notice that it is over."""
    tenant = answered[0].tenant

    def are_hits() -> bool:
        again = [a_question(tenant, _words_of(request)) for request in answered]
        with pipeline.following(tenant) as results:
            pipeline.ask(again)
            found = results.wait_for(again).values()
        return {result.source for result in found} == {"shared_cache"}

    until(are_hits, 20)


def _words_of(request: PromptRequest) -> str:
    assert request.messages is not None
    return str(request.messages[0].content)


def test_two_server_errors_cost_two_more_attempts(pipeline: Pipeline) -> None:
    request = a_question("flaky")
    pipeline.model.set(faults=[{"status": 500, "count": 2}])
    with pipeline.following("flaky") as results:
        pipeline.ask([request])
        found = results.wait_for([request])[request.request_id]
    assert (found.status, found.attempts) == ("completed", 3)
    paid = [call for call in pipeline.model.ledger() if call["output_tokens"]]
    assert [call["request_id"] for call in paid] == [str(request.request_id)]


def test_an_api_that_keeps_failing_ends_in_a_failed_result_with_its_code(pipeline: Pipeline) -> None:
    request = a_question("failing")
    pipeline.model.set(faults=[{"status": 529}])
    with pipeline.following("failing") as results:
        pipeline.ask([request])
        found = results.wait_for([request])[request.request_id]
    assert found.status == "failed"
    assert found.error is not None
    assert found.error.code == "overloaded_error"
    assert found.cost_usd == 0


LABELS = {
    "topic",
    "status",
    "source",
    "lane",
    "reason",
    "tier",
    "outcome",
    "operation",
    "code",
    "store",
    "endpoint",
    "le",
    "verdict",
    "scope",
    "period",
    "limit",
}
GENAI_LABELS = {"gen_ai_request_model", "gen_ai_token_type", "error_type"}
DECLARED = {value._name for value in vars(metrics).values() if hasattr(value, "_labelnames")}


def test_metrics_have_every_declared_family_and_only_closed_labels(pipeline: Pipeline, worker: Worker) -> None:
    request = a_question("tenant-of-the-metrics-test")
    with pipeline.following("tenant-of-the-metrics-test") as results:
        pipeline.ask([request])
        results.wait_for([request])
    families = {family.name: family for family in worker.metrics()}
    # The parser drops `_total`, as the declaration does.
    assert families.keys() >= DECLARED
    samples = [sample for name in DECLARED for sample in families[name].samples]
    assert {label for sample in samples for label in sample.labels} <= LABELS | GENAI_LABELS
    exposed = " ".join(value for sample in samples for value in sample.labels.values())
    assert "tenant-of-the-metrics-test" not in exposed
    assert str(request.request_id) not in exposed
    assert worker.total("headrace_records_total") > 0
    assert worker.total("headrace_model_calls_total") > 0


def test_calls_of_the_model_are_measured_under_their_opentelemetry_names(pipeline: Pipeline, worker: Worker) -> None:
    request = a_question("measured")
    with pipeline.following("measured") as results:
        pipeline.ask([request])
        results.wait_for([request])
    assert worker.total("gen_ai_client_operation_duration_seconds_count") > 0
    assert worker.total("gen_ai_client_token_usage_count") > 0


def test_a_worker_in_its_group_is_healthy(worker: Worker) -> None:
    assert worker.health() == (200, "ok\n")


def test_a_worker_without_its_broker_says_so_in_its_health(pipeline: Pipeline) -> None:
    with pipeline.worker("lonely", ready=False, kafka="127.0.0.1:9") as lonely:
        seen = (0, "")

        def is_unwell() -> bool:
            nonlocal seen
            seen = lonely.health()
            return seen[0] == 503

        until(is_unwell, 60)
        assert "no assignment" in seen[1]
