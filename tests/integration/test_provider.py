"""Workers on a real broker and ledger, and a provider that refuses a model, breaks, or refuses one of two keys."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from schemas.request import PromptRequest
from schemas.result import PromptResult
from tests.pipeline import Pipeline, a_question, running_pipeline
from tests.rehearsal import RehearsalServer, rehearsal_server

pytestmark = pytest.mark.timeout(180)

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
BY_POLICY = json.dumps({OPUS: [SONNET]})


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet_model(pipeline: Pipeline) -> None:
    pipeline.model.reset()


@pytest.fixture(scope="module")
def other_server() -> Iterator[RehearsalServer]:
    with rehearsal_server() as server:
        yield server


def asking_opus(tenant: str, text: str | None = None) -> PromptRequest:
    return a_question(tenant, text).model_copy(update={"model": OPUS})


def charged(server: RehearsalServer) -> dict[UUID, list[Decimal]]:
    """What each request's calls cost, by the model's own ledger."""
    costs: dict[UUID, list[Decimal]] = {}
    for call in server.ledger():
        if call["output_tokens"]:
            costs.setdefault(UUID(call["request_id"]), []).append(Decimal(str(call["cost_usd"])))
    return costs


def paid(results: Iterable[PromptResult]) -> dict[UUID, list[Decimal]]:
    return {result.request_id: [result.cost_usd or Decimal(0)] for result in results if result.source == "model"}


def test_a_refused_model_is_answered_for_by_another_once_and_every_result_says_so(pipeline: Pipeline) -> None:
    pipeline.model.set(faults=[{"match": {"model": OPUS}, "status": 404, "message": f"model: {OPUS}"}])
    first = asking_opus("refused")
    with pipeline.worker("refused", fallback_models=BY_POLICY) as worker, pipeline.following("refused") as results:
        pipeline.ask([first])
        answered = results.wait_for([first])[first.request_id]
        assert first.messages is not None
        again = asking_opus("refused", str(first.messages[0].content))
        pipeline.ask([again])
        hit = results.wait_for([again])[again.request_id]
        assert worker.total("headrace_fallback_answers_total") == 1
    assert (answered.status, answered.model, answered.requested_model) == ("completed", SONNET, OPUS)
    assert (hit.model, hit.requested_model, hit.paid_by) == (SONNET, OPUS, first.request_id)
    assert (hit.saved_usd, hit.fingerprint) == (answered.cost_usd, answered.fingerprint)
    assert charged(pipeline.model) == paid([answered])


def test_while_a_breaker_is_open_another_model_answers_and_each_request_is_paid_once(pipeline: Pipeline) -> None:
    pipeline.model.set(faults=[{"match": {"model": OPUS}, "status": 529}])
    requests = [asking_opus("broken") for _ in range(30)]
    worker = pipeline.worker("broken", fallback_models=BY_POLICY, retry_delays_seconds="[0.5, 1, 2]")
    with pipeline.retries(), worker, pipeline.following("broken") as results:
        pipeline.ask(requests)
        answered = results.wait_for(requests, 90)
    assert {result.status for result in answered.values()} == {"completed"}
    assert {(result.model, result.requested_model) for result in answered.values()} == {(SONNET, OPUS)}
    assert charged(pipeline.model) == paid(answered.values())


def test_one_refused_key_of_two_holds_nothing_up(pipeline: Pipeline, other_server: RehearsalServer) -> None:
    other_server.reset()
    other_server.set(faults=[{"status": 401}])
    endpoints = [
        {"name": "good", "base_url": pipeline.model.url, "api_key": "sk-of-the-good-one"},
        {"name": "refused", "base_url": other_server.url, "api_key": "sk-of-the-refused-one"},
    ]
    requests = [a_question("two-keys") for _ in range(40)]
    with (
        pipeline.worker("two-keys", model_endpoints=json.dumps(endpoints)) as worker,
        pipeline.following("two-keys") as results,
    ):
        pipeline.ask(requests)
        answered = results.wait_for(requests)
        samples = [each for family in worker.metrics() for each in family.samples]
        log = worker.log.read_text()
    # The board is shared with the tests before this one: only a refusal would be ours.
    refused = {"name": "headrace_paused_scopes", "labels": {"reason": "refused"}}
    assert [each.value for each in samples if {"name": each.name, "labels": each.labels} == refused] in ([], [0.0])
    calls = {
        (each.labels["endpoint"], each.labels["outcome"]): each.value
        for each in samples
        if each.name == "headrace_endpoint_calls_total"
    }
    assert {(result.status, result.attempts) for result in answered.values()} == {("completed", 1)}
    assert calls["good", "answered"] == 40
    assert calls["refused", "paused"] >= 1
    assert charged(pipeline.model) == paid(answered.values())
    assert {call["status"] for call in other_server.ledger()} == {401}
    assert "sk-of-the" not in log


def test_two_keys_share_the_calls(pipeline: Pipeline, other_server: RehearsalServer) -> None:
    other_server.reset()
    for server in (pipeline.model, other_server):
        server.set(latency_seconds=0.2)
    urls = (pipeline.model.url, other_server.url)
    endpoints = [{"name": f"key-{n}", "base_url": url, "api_key": f"sk-{n}"} for n, url in enumerate(urls)]
    requests = [a_question("shared") for _ in range(40)]
    with pipeline.worker("shared", model_endpoints=json.dumps(endpoints)), pipeline.following("shared") as results:
        pipeline.ask(requests)
        answered = results.wait_for(requests)
    shares = [charged(server) for server in (pipeline.model, other_server)]
    assert shares[0] | shares[1] == paid(answered.values())
    assert len(shares[0]) + len(shares[1]) == 40
    assert min(map(len, shares)) >= 5


@pytest.mark.parametrize("life", ["5m", "1h"])
def test_what_a_callers_mark_keeps_is_in_the_usage_and_costs_what_the_model_charged(
    pipeline: Pipeline, life: str
) -> None:
    kept = {
        "type": "text",
        "text": f"Kept for {life}. " + "Write the complete configuration for one device. " * 60,
        "cache_control": {"type": "ephemeral", "ttl": life},
    }
    requests = [
        PromptRequest.model_validate(
            {
                "request_id": uuid4(),
                "tenant": "marks",
                "messages": [{"role": "user", "content": [kept, {"type": "text", "text": f"Device {number}"}]}],
            }
        )
        for number in range(4)
    ]
    with pipeline.worker("marks") as worker, pipeline.following("marks") as results:
        answered = []
        for request in requests:
            pipeline.ask([request])
            answered.append(results.wait_for([request])[request.request_id])
        counts = [
            (each.labels["gen_ai_token_type"], each.value)
            for family in worker.metrics()
            for each in family.samples
            if each.name == "gen_ai_client_token_usage_count"
        ]
    written = answered[0].usage.cache_write_tokens
    assert written > 512
    assert answered[0].usage.cache_write_1h_tokens == (written if life == "1h" else None)
    assert [result.usage.cache_read_tokens for result in answered] == [0, written, written, written]
    assert charged(pipeline.model) == paid(answered)
    assert {("cache_write", 1.0), ("cache_read", 3.0)} <= set(counts)
