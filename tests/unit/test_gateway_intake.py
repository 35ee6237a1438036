"""What comes in through the gateway's door and what goes out: bad-input classes 1, 3, 4, 14, in process."""

import asyncio
import base64
import gzip
import json
import logging
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient

from producers.gateway.callers import KeyQuotas
from producers.gateway.incoming_body import BoundedBody
from producers.gateway.intake_rules import BodyRule, IntakeRules
from producers.gateway.problems import Problem
from producers.gateway.refused_keys import RefusedKeys
from streams.access.keys import new_key
from streams.quotas.counted_quotas import CountedQuotas
from streams.quotas.memory_counters import MemoryCounters
from streams.quotas.rules import QuotaRules
from tests.access import NOON, TestRing, text_of
from tests.sample_gateway import client_of, in_parts, routes_of, routes_without_entrance, sample_app
from tests.unit.test_strict_json import REFUSED

JSON = {"Content-Type": "application/json"}
SMALL = IntakeRules(
    bodies={"/v1/bulk": BodyRule(4096, frozenset({"application/x-ndjson"}), streamed=True)}, other_bodies=BodyRule(1024)
)


@pytest.fixture
def ring() -> TestRing:
    return TestRing()


async def client_with_key(ring: TestRing, rules: IntakeRules | None = None, **given: Any) -> AsyncClient:
    return client_of(sample_app(ring.ring, rules=rules), await ring.key_for("meridian"), **given)


def problem_in(answer: Any) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["next"]
    return document


# Class 1: keys.


async def test_whoever_has_no_valid_key_is_told_the_same(ring: TestRing) -> None:
    good = await ring.key_for("meridian")
    expired = await ring.key_for("meridian", expires_at=NOON)
    revoked = await ring.key_for("meridian", revoked_at=NOON)
    shown = [expired, revoked, text_of(new_key()), good[:-1] + "x", good.upper(), "hr_' OR '1'='1_x", "x" * 300, "é"]
    async with client_of(sample_app(ring.ring)) as client:
        answers = [
            await client.get("/v1/requests/a", headers=[(b"Authorization", f"Bearer {key}".encode("latin-1"))])
            for key in shown
        ]
        for answer in answers:
            assert (answer.status_code, problem_in(answer)["code"]) == (401, "key_invalid")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert not any(key in answer.text for key in shown if len(key) > 5)
        assert len({answer.text for answer in answers[:4]}) == 1


@pytest.mark.parametrize(
    "shown", [{}, {"params": "key"}, {"headers": {"X-Api-Key": ""}}, {"headers": {"Authorization": "Digest x"}}]
)
async def test_a_key_elsewhere_than_in_authorization_is_no_key(ring: TestRing, shown: dict[str, Any]) -> None:
    key = await ring.key_for("meridian")
    async with client_of(sample_app(ring.ring)) as client:
        params = {"api_key": key, "access_token": key} if shown.get("params") else None
        headers = {name: value or key for name, value in shown.get("headers", {}).items()}
        assert (await client.get("/v1/requests/a", params=params, headers=headers)).status_code == 401


async def test_a_key_is_taken_as_bearer_token_and_as_password(ring: TestRing) -> None:
    key = await ring.key_for("meridian")
    basic = base64.b64encode(f"anything:{key}".encode()).decode()
    async with client_of(sample_app(ring.ring)) as client:
        for authorization in (f"Bearer {key}", f"bearer {key}", f"Basic {basic}"):
            answer = await client.get("/v1/requests/a", headers={"Authorization": authorization})
            assert (answer.status_code, answer.json()["tenant"]) == (200, "meridian")


@pytest.mark.parametrize(
    ("scopes", "read", "submit"), [({"read"}, 200, 403), ({"submit"}, 403, 202), ({"admin"}, 200, 202)]
)
async def test_a_key_does_what_its_scopes_say(ring: TestRing, scopes: set[str], read: int, submit: int) -> None:
    key = await ring.key_for("meridian", scopes=frozenset(scopes))
    async with client_of(sample_app(ring.ring), key) as client:
        assert (await client.get("/v1/requests/a")).status_code == read
        assert (await client.post("/v1/requests", json={})).status_code == submit


async def test_a_store_of_keys_that_is_away_is_503_and_not_401(ring: TestRing) -> None:
    ring.store.away = True
    async with client_of(sample_app(ring.ring), text_of(new_key())) as client:
        answer = await client.get("/v1/requests/a")
        assert (answer.status_code, problem_in(answer)["code"]) == (503, "keys_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_an_address_that_shows_wrong_keys_on_end_has_to_wait_and_others_do_not(ring: TestRing) -> None:
    app = sample_app(ring.ring, rules=replace(IntakeRules(), refused_keys_burst=5, refused_keys_per_second=0.01))
    async with client_of(app, "hr_wrong") as client:
        codes = [(await client.get("/v1/requests/a")).status_code for _ in range(8)]
        assert codes == [401] * 6 + [429] * 2
    async with client_of(app, await ring.key_for("meridian"), client=("192.0.2.2", 4000)) as client:
        assert (await client.get("/v1/requests/a")).status_code == 200


def test_addresses_are_forgotten_and_time_heals() -> None:
    now = 0.0
    refused = RefusedKeys(1, 2, lambda: now)
    for _ in range(4):
        refused.note("192.0.2.1")
    assert refused.wait_seconds("192.0.2.1") == 2
    now = 2.0
    assert refused.wait_seconds("192.0.2.1") == 0
    for number in range(20_000):
        refused.note(str(number))
    assert len(refused._full_at) == 10_000


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "evil.test@gateway.test", "a\\b", "<x>", "a..", "a:99999999", "[::1", "x" * 300]
)
async def test_an_odd_host_is_refused(ring: TestRing, host: str) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.get("/v1/requests/a", headers={"Host": host})
        assert (answer.status_code, problem_in(answer)["code"]) == (400, "host_invalid")


async def test_where_hosts_are_named_others_are_not_served_but_for_probes(ring: TestRing) -> None:
    rules = replace(IntakeRules(), hosts=frozenset({"gateway.test"}))
    async with await client_with_key(ring, rules) as client:
        assert (await client.get("/v1/requests/a", headers={"Host": "Gateway.test:8080"})).status_code == 200
        assert (await client.get("/v1/requests/a", headers={"Host": "evil.test"})).status_code == 421
        assert (await client.get("/livez", headers={"Host": "10.0.0.7:8080"})).status_code == 200


@pytest.mark.parametrize(
    ("peer", "named", "address"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
    ],
)
async def test_only_proxies_that_we_trust_say_who_calls(
    ring: TestRing, peer: str, named: str | None, address: str
) -> None:
    rules = replace(IntakeRules(), trusted_proxies=(ip_network("10.0.0.0/8"),))
    async with await client_with_key(ring, rules, client=(peer, 4000)) as client:
        headers = {} if named is None else {"X-Forwarded-For": named}
        assert (await client.get("/v1/requests/a", headers=headers)).json()["address"] == address


# Classes 3 and 4: bodies.


@pytest.mark.parametrize(
    "data", [data for data, _ in REFUSED.values() if data], ids=[name for name in REFUSED if name != "nothing"]
)
async def test_no_loose_json_reaches_a_route(ring: TestRing, data: bytes) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.post("/v1/requests", content=data, headers=JSON)
        assert (answer.status_code, problem_in(answer)["code"]) == (400, "invalid_json")


async def test_a_good_body_reaches_its_route_unchanged_whole_or_in_parts_or_packed(ring: TestRing) -> None:
    value = {"prompt": "zürich \U0001f600", "n": [1, 2.5, None]}
    data = json.dumps(value).encode()
    async with await client_with_key(ring) as client:
        plain = await client.post("/v1/requests", content=data, headers=JSON)
        parts = await client.post("/v1/requests", content=in_parts([data[:7], b"", data[7:]]), headers=JSON)
        packed = await client.post(
            "/v1/requests", content=gzip.compress(data), headers={**JSON, "Content-Encoding": "gzip"}
        )
        for answer in (plain, parts, packed):
            assert (answer.status_code, answer.json()["body"]) == (202, value)
        assert (plain.json()["bytes"], packed.json()["bytes"]) == (len(data), len(gzip.compress(data)))


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/xml", "application/json; charset=utf-16", "multipart/form-data"]
)
async def test_a_body_of_another_type_is_refused(ring: TestRing, kind: str) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.post("/v1/requests", content=b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, problem_in(answer)["code"]) == (415, "content_type_unsupported")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "x"])
async def test_a_body_packed_otherwise_is_refused(ring: TestRing, encoding: str) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.post("/v1/requests", content=b"{}", headers={**JSON, "Content-Encoding": encoding})
        assert (answer.status_code, problem_in(answer)["code"]) == (415, "content_encoding_unsupported")


async def test_a_body_over_its_limit_is_refused_announced_or_not(ring: TestRing) -> None:
    async with await client_with_key(ring, SMALL) as client:
        whole = b'"' + b"x" * 1022 + b'"'
        assert (await client.post("/v1/requests", content=whole, headers=JSON)).status_code == 202
        for content in (whole + b" ", in_parts([whole, b" "]), in_parts([b" "] * 2000)):
            answer = await client.post("/v1/requests", content=content, headers=JSON)
            assert (answer.status_code, problem_in(answer)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/bulk"])
async def test_a_gzip_bomb_is_not_unpacked(ring: TestRing, path: str) -> None:
    bomb = gzip.compress(b'"' + b"x" * 50_000_000 + b'"')
    rules = replace(SMALL, other_bodies=BodyRule(1_000_000), bodies={"/v1/bulk": BodyRule(1_000_000, streamed=True)})
    async with await client_with_key(ring, rules) as client:
        answer = await client.post(path, content=bomb, headers={**JSON, "Content-Encoding": "gzip"})
        assert (answer.status_code, problem_in(answer)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "change", [lambda data: data[:-3], lambda data: data + b"more", lambda _: b"plain", lambda data: data * 2]
)
async def test_what_is_not_one_gzip_stream_is_refused(ring: TestRing, change: Any) -> None:
    async with await client_with_key(ring) as client:
        body = change(gzip.compress(b'{"a": 1}'))
        answer = await client.post("/v1/requests", content=body, headers={**JSON, "Content-Encoding": "gzip"})
        assert (answer.status_code, problem_in(answer)["code"]) == (400, "body_not_gzip")


async def test_a_long_upload_comes_through_as_it_is_sent_and_is_bounded(ring: TestRing) -> None:
    lines = {"Content-Type": "application/x-ndjson"}
    async with await client_with_key(ring, SMALL) as client:
        good = await client.post("/v1/bulk", content=in_parts([b"x" * 1000] * 4), headers=lines)
        assert (good.status_code, good.json()["size"]) == (202, 4000)
        answer = await client.post("/v1/bulk", content=in_parts([b"x" * 1000] * 5), headers=lines)
        assert (answer.status_code, problem_in(answer)["code"]) == (413, "body_too_large")


class Drip:
    """A caller who sends `size` bytes every `seconds` of a clock that this very caller moves."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self.seconds = seconds
        self.now = 0.0

    async def __call__(self) -> dict[str, Any]:
        self.now += self.seconds
        return {"type": "http.request", "body": b"x" * self.size, "more_body": True}

    def body(self, max_bytes: int) -> BoundedBody:
        return BoundedBody(self, BodyRule(max_bytes), IntakeRules(), lambda: self.now, packed=False)


async def test_a_body_that_drips_is_given_up() -> None:
    slow = Drip(size=100, seconds=1)
    with pytest.raises(Problem) as told:
        await slow.body(10**9).whole()
    assert (told.value.status, told.value.code) == (408, "body_too_slow")
    assert slow.now < 15


async def test_a_body_that_keeps_up_may_take_as_long_as_it_needs() -> None:
    steady = Drip(size=20_000, seconds=1)
    with pytest.raises(Problem) as told:
        await steady.body(20_000 * 200).whole()
    assert told.value.status == 413
    assert steady.now > 190


async def test_a_body_that_stops_is_given_up_after_the_grace() -> None:
    async def silence() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    rules = replace(IntakeRules(), body_grace_seconds=0.05)
    with pytest.raises(Problem) as told:
        await BoundedBody(silence, BodyRule(), rules, asyncio.get_running_loop().time, packed=False).whole()
    assert told.value.code == "body_too_slow"


async def call_raw(app: Any, headers: list[tuple[bytes, bytes]], *messages: dict[str, Any], **scope: Any) -> list[Any]:
    """What the application sends for messages of a server; for what no client library would send."""
    sent: list[Any] = []
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    base = {"type": "http", "method": "POST", "path": "/v1/requests", "raw_path": b"/v1/requests", "query_string": b""}
    headers = [(b"host", b"gateway.test"), *headers]
    await app({**base, "headers": headers, "client": ("192.0.2.1", 1), "scheme": "http", **scope}, receive, send)
    return sent


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"", b" 5", b"9" * 30])
async def test_a_length_that_is_no_number_is_refused(ring: TestRing, length: bytes) -> None:
    sent = await call_raw(sample_app(ring.ring), [(b"content-length", length)])
    assert sent[0]["status"] == 400


async def test_a_body_that_ends_before_its_announced_length_is_no_request(ring: TestRing) -> None:
    headers = [(b"content-length", b"20"), (b"content-type", b"application/json")]
    part = {"type": "http.request", "body": b"{}", "more_body": True}
    sent = await call_raw(sample_app(ring.ring), headers, part)
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (400, "body_incomplete")


# Class 14 and heads: headers, URLs.


@pytest.mark.parametrize("value", [b"a\r\nX-Evil: 1", b"a\nb", b"a\x00b", b"a\x1bb", b"a\x7fb"])
async def test_a_control_character_in_a_header_is_refused(ring: TestRing, value: bytes) -> None:
    sent = await call_raw(sample_app(ring.ring), [(b"idempotency-key", value)])
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (400, "header_invalid")


@pytest.mark.parametrize("name", [b"host", b"authorization", b"content-type", b"idempotency-key"])
async def test_a_header_that_decides_something_stands_once(ring: TestRing, name: bytes) -> None:
    sent = await call_raw(sample_app(ring.ring), [(name, b"gateway.test"), (name, b"other.test")])
    assert sent[0]["status"] == 400


async def test_too_many_or_too_long_headers_and_urls_are_refused(ring: TestRing) -> None:
    async with await client_with_key(ring) as client:
        many = {f"x-{number}": "1" for number in range(65)}
        assert (await client.get("/v1/requests/a", headers=many)).status_code == 431
        assert (await client.get("/v1/requests/a", headers={"x": "1" * 17_000})).status_code == 431
        assert (await client.get("/v1/requests/" + "a" * 9000)).status_code == 414
        assert (await client.get("/v1/requests/a", params={"user": "a" * 9000})).status_code == 414


@pytest.mark.parametrize("url", ["/v1/requests/a%00b", "/v1/requests/a?user=a%00b"])
async def test_nul_in_a_url_is_refused(ring: TestRing, url: str) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.get(url)
        assert (answer.status_code, problem_in(answer)["code"]) == (400, "invalid_request")


async def test_a_callers_text_ends_no_line_of_an_answers_head(ring: TestRing) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.get("/v1/bug/header")
        assert (answer.status_code, "set-cookie" in answer.headers) == (500, False)


# What goes out.


async def test_every_answer_carries_the_headers_that_keep_browsers_from_harm(ring: TestRing) -> None:
    async with await client_with_key(ring) as client:
        answers = [
            await client.get("/livez"),
            await client.get("/v1/requests/a"),
            await client.get("/v1/requests/a", headers={"Authorization": "Bearer x"}),
            await client.get("/v1/requests/a", headers={"Host": "a b"}),
            await client.get("/nowhere"),
            await client.put("/v1/requests/a", json={}),
            await client.get("/v1/bug/error"),
            await client.get("/openapi.json"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 400, 404, 405, 500, 200]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["server"] == ""
        assert not any(name.startswith(("access-control-", "x-powered-by", "via")) for name in answer.headers)


async def test_a_browser_of_another_origin_gets_no_leave(ring: TestRing) -> None:
    async with await client_with_key(ring) as client:
        asking = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
        answer = await client.options("/v1/requests", headers=asking)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control-") for name in answer.headers)


async def test_over_tls_browsers_are_told_to_stay_there(ring: TestRing) -> None:
    sent = await call_raw(sample_app(ring.ring), [], scheme="https")
    assert b"strict-transport-security" in dict(sent[0]["headers"])


async def test_a_bug_is_told_to_nobody_and_logged_without_its_message(
    ring: TestRing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with await client_with_key(ring) as client:
            answer = await client.get("/v1/bug/error")
    assert (answer.status_code, problem_in(answer)["code"]) == (500, "internal_error")
    assert "RuntimeError" in caplog.text
    assert "SECRET-WORDS" not in caplog.text + answer.text


async def test_a_refusal_of_a_route_keeps_its_own_headers(ring: TestRing) -> None:
    async with await client_with_key(ring) as client:
        answer = await client.get("/v1/bug/problem")
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")


async def test_an_answer_says_what_is_left_and_a_refusal_when_to_come_again(ring: TestRing) -> None:
    none = KeyQuotas()
    quotas = CountedQuotas(
        MemoryCounters(lambda: 1000.0), QuotaRules(KeyQuotas(0.1, 2), none, none, none), lambda: 1000.0
    )
    async with client_of(sample_app(ring.ring, quotas), await ring.key_for("meridian")) as client:
        first, second, third = [await client.get("/v1/requests/a") for _ in range(3)]
    assert first.headers["ratelimit-policy"] == '"key_rate";q=2;w=20'
    assert (first.headers["ratelimit"], second.headers["ratelimit"]) == ('"key_rate";r=1;t=10', '"key_rate";r=0;t=20')
    assert (third.status_code, third.headers["retry-after"]) == (429, "10")
    assert (problem_in(third)["code"], third.json()["quota"]) == ("quota_exceeded", "key_rate")
    assert third.headers["ratelimit"] == '"key_rate";r=0;t=20'


async def test_a_route_without_an_entrance_is_found(ring: TestRing) -> None:
    app = sample_app(ring.ring)
    assert {route.path for route in routes_of(app)} >= {"/v1/requests", "/v1/bulk", "/openapi.json"}
    assert routes_without_entrance(app) == []
    router = APIRouter()

    @router.get("/v1/forgotten")
    async def forgotten() -> None:
        """Nobody is asked for a key."""

    app.include_router(router)
    assert routes_without_entrance(app) == ["GET /v1/forgotten"]
