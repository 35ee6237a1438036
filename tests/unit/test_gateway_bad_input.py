"""What callers must not send, by the numbers of its classes, 5 to 14: never accepted, never published, never a 5xx.

Classes 1, 3, 4 and more of 14 are in test_gateway_intake.py and, on the wire, in test_gateway_wire.py; class 2 is in
test_gateway_tenants.py.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producers.gateway.budgets import SpentBudget
from producers.gateway.quotas import NoQuotas, QuotaAsk, QuotaVerdict
from schemas.request import PromptRequest
from tests.gateway_parts import ACME, Parts
from tests.whole_gateway import WholeGateway

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
A_LINE = b'{"prompt": "a"}\n'


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def at(**fields: Any) -> dict[str, Any]:
    return {"prompt": "a", **fields}


BODIES: dict[str, Any] = {
    # 6: messages
    "6 no messages": {"messages": []},
    "6 an empty text": user(""),
    "6 an empty list of blocks": user([]),
    "6 the assistant first": {"messages": [{"role": "assistant", "content": "a"}]},
    "6 a role that is none": {"messages": [{"role": "system", "content": "a"}]},
    "6 a message with a field too many": {"messages": [{"role": "user", "content": "a", "name": "x"}]},
    "6 content that is a number": user(7),
    "6 both prompt and messages": {"prompt": "a", **user("a")},
    "6 a prompt that is an object": {"prompt": {"a": 1}},
    "6 1,001 messages": {"messages": [{"role": "user", "content": "a"}] * 1001},
    "6 not an object": ["a"],
    "6 a text": "a",
    # 7: models and their parameters
    "7 max_tokens 0": at(max_tokens=0),
    "7 max_tokens -1": at(max_tokens=-1),
    "7 max_tokens a fraction": at(max_tokens=1.5),
    "7 max_tokens beyond every model": at(max_tokens=128_001),
    "7 temperature": at(temperature=0.5),
    "7 top_p": at(top_p=0.5),
    "7 top_k": at(top_k=5),
    "7 stream": at(stream=True),
    "7 a model without a name": at(model=""),
    "7 a model with a name too long": at(model="m" * 129),
    "7 a model that is a list": at(model=["claude-haiku-5-5"]),
    # 9: fields that are not the caller's
    "9 tenant": at(tenant="globex"),
    "9 request_id": at(request_id="0190163d-8694-739b-aea5-966c26f8ad91"),
    "9 accepted_at": at(accepted_at="2020-01-01T00:00:00Z"),
    "9 priority": at(priority=100),
    "9 a callback to this machine": at(callback_url="http://127.0.0.1:9092/"),
    "9 a callback to the cloud's metadata": at(webhook="http://169.254.169.254/latest/meta-data/"),
    "9 __proto__": at(__proto__={"tenant": "globex"}),
    # 10: labels
    "10 a value of a megabyte": at(labels={"a": "x" * 1_000_000}),
    "10 10,000 labels": at(labels={f"l{number}": "1" for number in range(10_000)}),
    "10 17 labels": at(labels={f"l{number}": "1" for number in range(17)}),
    "10 a quote in a name": at(labels={"a'; DROP TABLE requests; --": "1"}),
    "10 a name without letters": at(labels={"": "1"}),
    "10 a value that is an object": at(labels={"a": {"b": 1}}),
    "10 a name with a line's end": at(labels={"a\r\nb": "1"}),
    # 11: times
    "11 a life of ten years": at(cache={"ttl_seconds": 10 * 365 * 86_400}),
    "11 a life below zero": at(cache={"ttl_seconds": -1}),
    "11 a deadline that is no time": at(deadline="soon"),
    "11 a deadline without a zone": at(deadline="2026-11-25T12:00:00"),
    "11 a deadline beyond every calendar": at(deadline="99999-01-01T00:00:00Z"),
    "11 a cache mode that is none": at(cache={"mode": "always"}),
    # 14: what becomes a header or a name
    "14 a user with a line's end and NUL": at(user_id="a\u0000b"),
    "14 a template with a path": {"template": "../../etc/passwd@1"},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_makes_no_request_is_refused_and_not_repeated(body: Any) -> None:
    parts = Parts()
    async with parts.running() as client:
        answer = await client.post("/v1/requests", content=json.dumps(body).encode(), headers=ACME)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_request", "invalid_json"}
    assert not any(words in answer.text for words in ("169.254", "DROP TABLE", "etc/passwd", "globex", "xxxx"))
    assert len(answer.content) < 2000
    assert parts.publisher.records == []


async def test_what_only_the_model_can_judge_is_accepted_as_it_is() -> None:
    """Unknown models, blocks and broken pictures are refused by the API, for that request alone."""
    parts = Parts()
    bodies = [
        at(model="claude-of-the-future"),
        user([{"type": "hologram"}]),
        user([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "no picture"}}]),
        at(labels={"a.b/c-d": "\"'; \u202e=cmd|' /C calc'!A0"}),
        at(deadline=(datetime.now(UTC) - timedelta(days=1)).isoformat()),
    ]
    async with parts.running() as client:
        answers = [await client.post("/v1/requests", json=body, headers=ACME) for body in bodies]
    assert [answer.status_code for answer in answers] == [202] * len(bodies)
    assert len(parts.publisher.records) == len(bodies)


# 5: bulk.


@pytest.mark.parametrize(
    ("content", "accepted", "rejected"),
    [
        (A_LINE + b"broken\n" + A_LINE, 2, 1),
        (A_LINE + A_LINE.rstrip(), 2, 0),
        (A_LINE.replace(b"\n", b"\r\n") * 2, 2, 0),
        (b"\n\n" + A_LINE + b"\n", 1, 0),
        (b'{"prompt": "a", "request_id": "0190163d-8694-739b-aea5-966c26f8ad91"}\n' * 2 + A_LINE, 1, 2),
        (b'{"prompt": "a", "tenant": "globex"}\n' + A_LINE, 1, 1),
        (b'{"prompt": "a", "prompt": "b"}\n{"prompt": "a\\u0000"}\n' + A_LINE, 1, 2),
        (b'{"prompt": NaN}\n\xff\xfe\n[' + b"[" * 10_000 + b"\n" + A_LINE, 1, 3),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'"}\n' + A_LINE, 1, 1),
    ],
    ids=[
        "a bad line in the middle",
        "no final line end",
        "CRLF",
        "empty lines",
        "ids",
        "tenants",
        "twice and NUL",
        "loose JSON",
        "too long",
    ],
)
async def test_a_bad_line_is_rejected_alone(content: bytes, accepted: int, rejected: int) -> None:
    gateway = WholeGateway()
    async with gateway.running() as client:
        answer = await client.post("/v1/bulk", content=content, headers=ACME | NDJSON)
    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (accepted, rejected)
    assert len(gateway.parts.publisher.records) == accepted


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[]"])
async def test_an_upload_of_nothing_publishes_nothing(content: bytes) -> None:
    gateway = WholeGateway()
    async with gateway.running() as client:
        answer = await client.post("/v1/bulk", content=content, headers=ACME | NDJSON)
    assert answer.status_code < 500
    assert gateway.parts.publisher.records == []


# 8: idempotency keys.


@pytest.mark.parametrize("key", ["", "x" * 256, "x" * 10_000, "a\tb", "\u00e9", "a\x7fb"])
async def test_what_is_no_idempotency_key_is_refused(key: str) -> None:
    parts = Parts()
    headers = [(name.encode(), value.encode()) for name, value in ACME.items()]
    async with parts.running() as client:
        encoded = [*headers, (b"Idempotency-Key", key.encode("latin-1"))]
        answer = await client.post("/v1/requests", json=at(), headers=encoded)
    assert answer.status_code in {400, 431}
    assert parts.publisher.records == []


async def test_an_idempotency_key_with_another_body_is_refused() -> None:
    parts = Parts()
    headers = ACME | {"Idempotency-Key": "one"}
    async with parts.running() as client:
        answers = [await client.post("/v1/requests", json={"prompt": each}, headers=headers) for each in "aab"]
    assert [answer.status_code for answer in answers] == [202, 202, 422]
    assert len(parts.publisher.records) == 1


# 12: budgets and quotas.


class Spent:
    async def spent(self, request: PromptRequest) -> SpentBudget | None:
        del request
        return SpentBudget("department", 60.0)


class OneCall(NoQuotas):
    def __init__(self) -> None:
        self.left = 1

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        self.left -= ask.requests
        return QuotaVerdict(self.left >= 0, 0.0 if self.left >= 0 else 7.0, "key_day")


@pytest.mark.parametrize(
    ("others", "statuses"), [({"budgets": Spent()}, [402, 402]), ({"quotas": OneCall()}, [202, 429])]
)
async def test_what_is_used_up_is_said_before_anything_is_published(
    others: dict[str, Any], statuses: list[int]
) -> None:
    parts = Parts(others=others)
    async with parts.running() as client:
        answers = [await client.post("/v1/requests", json=at(), headers=ACME) for _ in range(2)]
    assert [answer.status_code for answer in answers] == statuses
    assert len(parts.publisher.records) == statuses.count(202)


# 13: pages.


@pytest.mark.parametrize(
    "question",
    [
        "cursor=forged",
        "cursor=MjAyNi0xMS0yNSBhYmM",
        "cursor=" + "A" * 201,
        "cursor=%C3%A9",
        "limit=1000000000",
        "limit=0",
        "limit=-1",
        "limit=1e3",
        "limit=",
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B14:00",
        "status=unknown",
        "user=" + "a" * 300,
        "label=a",
    ],
)
async def test_a_forged_cursor_or_a_wild_limit_is_refused(question: str) -> None:
    async with Parts().running() as client:
        answer = await client.get(f"/v1/requests?{question}", headers=ACME)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)


@pytest.mark.parametrize(
    "path", ["/v1/bulk?limit=1000000000", "/v1/bulk?before=forged", "/v1/requests/not-an-id", "/v1/bulk/..%2f..%2f"]
)
async def test_what_is_no_id_and_no_limit_elsewhere_is_refused(path: str) -> None:
    async with WholeGateway().running() as client:
        answer = await client.get(path, headers=ACME)
    assert answer.status_code in {400, 404}


# 14: names that look alike.


@pytest.mark.parametrize("name", ["\u0430cme", "acme\u200b", "\u202eacme", "ACME\r\nX: 1"])
async def test_a_user_whose_name_looks_like_anothers_is_another(name: str) -> None:
    parts = Parts()
    async with parts.running() as client:
        answer = await client.post("/v1/requests", json=at(user_id=name), headers=ACME)
    assert answer.status_code == 202
    (record,) = parts.publisher.records
    assert not any(b"\r" in value or b"\n" in value for _, value in record.headers if value)
