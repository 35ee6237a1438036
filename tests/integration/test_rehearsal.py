"""The rehearsal server as its clients meet it: the SDK, our model, and plain HTTP."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message, TextBlockParam

from ops.local.model_checks import model_checks
from schemas.result import Usage
from schemas.templates import template_named
from streams.errors import ModelAmbiguous, ModelBusy
from streams.model.anthropic_model import AnthropicModel, AnthropicOptions
from streams.model.port import ModelPrompt
from streams.model.prices import cost_usd
from streams.settings import Settings
from tests.rehearsal import RehearsalServer, rehearsal_server

# One client: each one of httpx2 loads the certificates anew.
CLIENT = httpx2.Client(timeout=20)
MODEL = "claude-haiku-5-5"
FLEET_PROMPT = {
    "device_name": "edge-ber-01",
    "requirements": "VLANs 10, 20 and 30-32 on Gi0/1; OSPF area 5; ntp 10.1.1.1",
}


@pytest.fixture(scope="module")
def running() -> Iterator[RehearsalServer]:
    with rehearsal_server() as server:
        yield server


@pytest.fixture
def server(running: RehearsalServer) -> RehearsalServer:
    running.reset()
    return running


@pytest.fixture
async def sdk(server: RehearsalServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="sk-test-key", base_url=server.url, max_retries=0) as client:
        yield client


def a_body(content: str = "hello", **changed: Any) -> dict[str, Any]:
    body = {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": content}], **changed}
    return {name: value for name, value in body.items() if value is not None}


def a_counted(content: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in a_body(content, **changed).items() if name != "max_tokens"}


def a_prompt(content: str = "hello", request_id: str = "r-1") -> ModelPrompt:
    return ModelPrompt(MODEL, 1024, None, [{"role": "user", "content": content}], request_id)


def posted(server: RehearsalServer, body: Any, key: str | None = "sk-test") -> httpx2.Response:
    headers = {} if key is None else {"x-api-key": key}
    return CLIENT.post(f"{server.url}/v1/messages", json=body, headers=headers)


async def test_the_sdk_reads_a_message_with_its_headers(sdk: anthropic.AsyncAnthropic) -> None:
    raw = await sdk.messages.with_raw_response.create(**a_body())
    message = await raw.parse()
    assert Message.model_validate(message.model_dump()).content[0].type == "text"
    assert raw.headers["request-id"].startswith("req_")
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for part in ("limit", "remaining", "reset"):
            assert raw.headers[f"anthropic-ratelimit-{kind}-{part}"]


async def test_the_sdks_stream_gives_the_same_message_as_one_answer(sdk: anthropic.AsyncAnthropic) -> None:
    whole = await sdk.messages.create(**a_body())
    async with sdk.messages.stream(**a_body()) as stream:
        pieces = [text async for text in stream.text_stream]
        streamed = await stream.get_final_message()
    assert "".join(pieces) == whole.content[0].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.stop_reason == whole.stop_reason == "end_turn"


async def test_counting_tokens_agrees_with_what_is_billed(
    sdk: anthropic.AsyncAnthropic, server: RehearsalServer
) -> None:
    counted = await sdk.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    assert server.ledger() == []
    message = await sdk.messages.create(**a_body())
    assert counted.input_tokens == message.usage.input_tokens


async def test_models_are_listed(sdk: anthropic.AsyncAnthropic) -> None:
    models = {model.id: model async for model in sdk.models.list()}
    assert (models[MODEL].lifecycle, models[MODEL].retires_at) == ("active", None)
    ending = models["claude-sonnet-4-5"]
    assert ending.lifecycle == "deprecated"
    assert ending.retires_at is not None


def test_the_doctor_asks_the_api_which_models_end(server: RehearsalServer) -> None:
    given = {
        "ANTHROPIC_API_KEY": "rehearsal",
        "ANTHROPIC_BASE_URL": server.url,
        "clickhouse": "http://127.0.0.1:9",
        "default_model": "claude-sonnet-4-5",
    }
    (check,) = model_checks(Settings.model_validate(given))
    assert not check.ok
    assert check.detail.endswith("(by the API)")


def test_a_configuration_carries_what_was_asked_for(server: RehearsalServer) -> None:
    prompt = template_named("network-config@1").render(FLEET_PROMPT)
    answer = posted(server, a_body(prompt.user, system=prompt.system)).json()["content"][0]["text"]
    for line in (
        "hostname edge-ber-01",
        "vlan 10",
        "vlan 32",
        "interface Gi0/1",
        "router ospf 1",
        "ntp server 10.1.1.1",
    ):
        assert line in answer.splitlines()


def test_configurations_of_a_fleet_differ_in_the_name_alone(server: RehearsalServer) -> None:
    template = template_named("network-config@1")
    answers = {
        name: posted(server, a_body(template.render({**FLEET_PROMPT, "device_name": name}).user)).json()
        for name in ("edge-ber-01", "edge-ham-17")
    }
    texts = {name: answer["content"][0]["text"] for name, answer in answers.items()}
    assert texts["edge-ber-01"].replace("edge-ber-01", "edge-ham-17") == texts["edge-ham-17"]


def test_a_review_names_severity_line_and_advice(server: RehearsalServer) -> None:
    config = "hostname a\nsnmp-server community public RO\nline vty 0 4\n transport input telnet"
    prompt = template_named("config-review@1").render({"config": config})
    lines = posted(server, a_body(prompt.user)).json()["content"][0]["text"].splitlines()
    assert lines[0].startswith("CRITICAL | line 2 | ")
    assert lines[1].startswith("HIGH | line 4 | ")
    assert lines[-1].startswith("VERDICT")


def test_the_same_request_gets_the_same_answer_and_an_id_of_its_own(server: RehearsalServer) -> None:
    first, second = (posted(server, a_body("what is OSPF?")).json() for _ in range(2))
    assert first["content"] == second["content"]
    assert first["id"] != second["id"]
    assert posted(server, a_body("what is BGP?")).json()["content"] != first["content"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"max_tokens": None}, 400),
        ({"max_tokens": 0}, 400),
        ({"max_tokens": -1}, 400),
        ({"max_tokens": "many"}, 400),
        ({"max_tokens": 128_001}, 400),
        ({"messages": None}, 400),
        ({"messages": []}, 400),
        ({"messages": "hi"}, 400),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, 400),
        ({"messages": [{"role": "system", "content": "hi"}]}, 400),
        ({"messages": [{"role": "user", "content": ""}]}, 400),
        ({"model": None}, 400),
        ({"model": "claude-nobody-9"}, 404),
        ({"temperature": 0.2}, 400),
        ({"top_p": 0.9}, 400),
        ({"top_k": 5}, 400),
        ({"temperature": 0.2, "model": "claude-haiku-4-5"}, 200),
    ],
)
def test_a_request_is_validated_as_by_the_api(server: RehearsalServer, changed: dict[str, Any], status: int) -> None:
    response = posted(server, a_body(**changed))
    assert response.status_code == status
    if status != 200:
        error = response.json()
        assert error["type"] == "error"
        assert error["error"]["type"] in ("invalid_request_error", "not_found_error")
        assert error["request_id"] == response.headers["request-id"]
        assert server.summary()["cost_usd"] == 0


def test_a_call_without_a_key_is_refused(server: RehearsalServer) -> None:
    response = posted(server, a_body(), key=None)
    assert (response.status_code, response.json()["error"]["type"]) == (401, "authentication_error")


def test_a_body_that_is_not_json_or_too_large_is_refused(server: RehearsalServer) -> None:
    url, headers = f"{server.url}/v1/messages", {"x-api-key": "k"}
    assert CLIENT.post(url, content=b"{", headers=headers).status_code == 400
    large = CLIENT.post(url, content=b"x" * (32 * 1024 * 1024 + 1), headers=headers)
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")


def test_an_unknown_path_answers_in_the_apis_shape(server: RehearsalServer) -> None:
    response = CLIENT.get(f"{server.url}/v1/nothing")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 504, 529])
def test_a_scripted_status_is_answered_and_not_charged(server: RehearsalServer, status: int) -> None:
    server.set(faults=[{"status": status, "error_code": "some_code"}])
    response = posted(server, a_body())
    assert response.status_code == status
    assert response.json()["error"]["details"] == {"error_code": "some_code"}
    (call,) = server.ledger()
    assert (call["status"], call["cost_usd"], call["output_tokens"]) == (status, 0, 0)


@pytest.mark.parametrize(
    ("fault", "headers"),
    [
        ({}, {"retry-after": "1"}),
        ({"retry_after": 4294967}, {"retry-after": "4294967"}),
        ({"retry_after": "Sat, 21 Nov 2026 12:00:30 GMT"}, {"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}),
        ({"retry_after": "none"}, {}),
        ({"retry_after": "none", "retry_after_ms": 250}, {"retry-after-ms": "250"}),
    ],
)
def test_retry_after_is_sent_as_scripted(
    server: RehearsalServer, fault: dict[str, Any], headers: dict[str, str]
) -> None:
    server.set(faults=[{"status": 429, **fault}])
    sent = posted(server, a_body()).headers
    assert {name: sent[name] for name in ("retry-after", "retry-after-ms") if name in sent} == headers


@pytest.mark.parametrize("streaming", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize(
    ("kind", "charged"),
    [
        ("hang", True),
        ("drip", True),
        ("cut", True),
        ("malformed", True),
        ("reset_after_headers", True),
        ("reset_before", False),
    ],
)
async def test_a_spoilt_answer_is_ambiguous_to_us_and_known_to_the_bill(
    server: RehearsalServer, kind: str, charged: bool, streaming: bool
) -> None:
    server.set(faults=[{"kind": kind, "seconds": 20}])
    model = AnthropicModel("k", server.url, AnthropicOptions(stream_above_tokens=0 if streaming else 21_333))
    try:
        with pytest.raises(ModelAmbiguous):
            await model.answer(a_prompt(), 0.7)
    finally:
        await model.close()
    (call,) = server.ledger()
    assert (call["fault"], call["request_id"]) == (kind, "r-1")
    assert (call["cost_usd"] > 0) == charged


async def test_a_call_whose_caller_has_gone_is_charged_when_its_answer_is_done(server: RehearsalServer) -> None:
    server.set(latency_seconds=0.5)
    model = AnthropicModel("k", server.url)
    with pytest.raises(ModelAmbiguous):
        await model.answer(a_prompt(), 0.1)
    await model.close()
    assert server.summary()["charged"] == 0
    await asyncio.to_thread(server.wait_until_charged, 1)


async def test_a_server_that_is_not_there_is_busy_and_not_ambiguous() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for lean in (True, False):
        model = AnthropicModel("k", address, AnthropicOptions(lean=lean))
        with pytest.raises(ModelBusy) as raised:
            await model.answer(a_prompt(), 5)
        assert raised.value.code == "connection_failed"
        await model.close()


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"model": "haiku"}, True),
        ({"model": "opus"}, False),
        ({"prompt_contains": "ell"}, True),
        ({"prompt_contains": "nope"}, False),
        ({"request_id": "^r-[0-9]+$"}, True),
        ({"request_id": "^x"}, False),
        ({"model": "haiku", "prompt_contains": "nope"}, False),
        ("hello", True),
    ],
)
async def test_a_rule_hits_the_calls_it_matches(server: RehearsalServer, match: Any, hit: bool) -> None:
    server.set(faults=[{"match": match, "status": 529}])
    model = AnthropicModel("k", server.url)
    await asyncio.gather(model.answer(a_prompt(), 5), return_exceptions=True)
    await model.close()
    assert [call["status"] for call in server.ledger()] == [529 if hit else 200]


def test_share_and_count_bound_how_often_a_rule_hits(server: RehearsalServer) -> None:
    server.set(faults=[{"status": 500, "share": 0.25}])
    assert [posted(server, a_body()).status_code for _ in range(8)].count(500) == 2
    server.set(faults=[{"status": 500, "count": 2}])
    assert [posted(server, a_body()).status_code for _ in range(4)] == [500, 500, 200, 200]


def test_the_ledger_bills_every_answer_at_the_pipelines_price(server: RehearsalServer) -> None:
    usages = [posted(server, a_body(f"question {number}")).json()["usage"] for number in range(3)]
    expected = sum(
        cost_usd(MODEL, Usage(input_tokens=used["input_tokens"], output_tokens=used["output_tokens"])) or Decimal(0)
        for used in usages
    )
    calls = server.ledger()
    assert sum(Decimal(str(call["cost_usd"])) for call in calls) == expected
    assert Decimal(str(server.summary()["cost_usd"])) == expected
    assert len({call["prompt_sha256"] for call in calls}) == 3
    assert all("sk-test" not in str(call) for call in calls)


USED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
LONG = "Write the complete configuration for one device. " * 60


async def test_a_marked_prompt_is_written_then_read_and_the_bill_is_the_pipelines_price(
    sdk: anthropic.AsyncAnthropic, server: RehearsalServer
) -> None:
    system: list[TextBlockParam] = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    whole = await sdk.messages.count_tokens(**a_counted("one", system=LONG))
    first = (await sdk.messages.create(**a_body("one", system=system))).usage
    second = (await sdk.messages.create(**a_body("two", system=system))).usage
    written, read = first.cache_creation_input_tokens or 0, second.cache_read_input_tokens or 0
    assert written == read > 512
    assert first.input_tokens + written == whole.input_tokens
    calls = server.ledger()
    assert [(call["cache_write_tokens"], call["cache_read_tokens"]) for call in calls] == [(written, 0), (0, read)]
    usages = [Usage(**{name: call[name] for name in USED}) for call in calls]
    expected = [cost_usd(MODEL, usage) for usage in usages]
    assert [Decimal(str(call["cost_usd"])) for call in calls] == expected
    assert (expected[1] or 0) < (expected[0] or 0)


async def test_a_stream_tells_the_kept_tokens_as_well(sdk: anthropic.AsyncAnthropic) -> None:
    system = [{"type": "text", "text": f"{LONG} Streamed.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    async with sdk.messages.stream(**a_body(system=system)) as stream:
        used = (await stream.get_final_message()).usage
    assert used.cache_creation is not None
    assert used.cache_creation.ephemeral_1h_input_tokens == used.cache_creation_input_tokens
    assert used.cache_creation_input_tokens


@pytest.mark.parametrize("mark", [{"type": "forever"}, {"type": "ephemeral", "ttl": "2h"}, "ephemeral"])
def test_a_mark_the_api_does_not_know_is_refused(server: RehearsalServer, mark: object) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": mark}]
    assert posted(server, a_body(system=system)).status_code == 400
    five = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}] * 5
    assert posted(server, a_body(system=five)).status_code == 400


def test_the_ledger_survives_a_restart_and_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.ndjson"
    with rehearsal_server(path) as first:
        posted(first, a_body())
    with path.open("ab") as file:
        file.write(b'{"time": "torn')
    with rehearsal_server(path) as second:
        posted(second, a_body())
        assert second.summary()["calls"] == len(second.ledger()) == 2


def test_limits_refuse_strictly_and_say_when_to_come_back(server: RehearsalServer) -> None:
    server.set(limits={"requests_per_minute": 60, "burst_seconds": 3})
    responses = [posted(server, a_body()) for _ in range(5)]
    assert [response.status_code for response in responses[:3]] == [200, 200, 200]
    assert responses[4].status_code == 429
    assert int(responses[4].headers["retry-after"]) >= 1
    assert responses[0].headers["anthropic-ratelimit-requests-limit"] == "60"
    remaining = [int(response.headers["anthropic-ratelimit-requests-remaining"]) for response in responses[:3]]
    assert remaining == sorted(remaining, reverse=True)


def test_output_tokens_that_were_reserved_and_not_used_come_back(server: RehearsalServer) -> None:
    server.set(limits={"output_tokens_per_minute": 2000})
    assert [posted(server, a_body(max_tokens=1500)).status_code for _ in range(3)] == [200, 200, 200]


def test_settings_that_are_not_named_stay_and_bad_ones_change_nothing(server: RehearsalServer) -> None:
    server.set(latency_seconds={"median": 0.01, "p95": 0.02})
    server.set(faults=[{"status": 503}])
    url = f"{server.url}/_rehearsal/settings"
    for bad in ({"faults": [{"status": 200}]}, {"faults": [{"match": {"request_id": "("}, "status": 500}]}, {"x": 1}):
        assert CLIENT.put(url, json=bad).status_code == 400
    settings = CLIENT.get(url).json()
    assert settings["latency_seconds"] == {"median": 0.01, "p95": 0.02}
    assert [fault["status"] for fault in settings["faults"]] == [503]


def test_health_and_metrics_are_on_the_same_port(server: RehearsalServer) -> None:
    posted(server, a_body())
    assert CLIENT.get(f"{server.url}/healthz").json()["status"] == "ok"
    metrics = CLIENT.get(f"{server.url}/metrics").text
    assert re.search(r'^headrace_rehearsal_calls_total\{status="200"\} 1$', metrics, re.MULTILINE)
