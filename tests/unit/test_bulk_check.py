"""The short way of an item and the long one make the same of it, and neither lets a field of ours through."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.bulk_split import CsvRows, RawItem
from producers.gateway.bulk_check import CheckedItem, ItemCheck
from producers.gateway.callers import Caller, KeyId
from producers.gateway.ids import SignedIds
from producers.gateway.strict_json import JsonRefusedError, strict_json
from schemas.codec import decode_request, encode_request
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.topics import MAX_VALUE_BYTES
from tests.unit.events import requests

IDS = SignedIds(b"a secret of sixteen bytes")
CALLER = Caller(KeyId("k"), "acme", frozenset({"submit"}))
JOB = IDS.new_job("acme")
CHECK = ItemCheck(IDS, CALLER, JOB, "claude-haiku-5-5")
OURS = ("request_id", "tenant", "accepted_at")


def is_strict(request: PromptRequest) -> bool:
    """Whether the entrance takes its JSON: without NUL, and without integers beyond 64 bits in its blocks."""
    try:
        strict_json(request.model_dump_json().encode())
    except JsonRefusedError:
        return False
    return True


REQUESTS = requests().filter(lambda request: request.template is None and is_strict(request))


def checked(fields: Any, number: int = 1) -> CheckedItem | str:
    raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return CHECK.checked(number, RawItem(number, raw))


class Object(list[tuple[str, Any]]):
    """A JSON object in which a name may stand twice."""


def written(value: Any, comma: str, colon: str) -> str:
    if isinstance(value, Object):
        pairs = (f"{json.dumps(name)}{colon}{written(each, comma, colon)}" for name, each in value)
        return "{" + comma.join(pairs) + "}"
    if isinstance(value, list):
        return "[" + comma.join(written(each, comma, colon) for each in value) + "]"
    return json.dumps(value)


def decoded(item: CheckedItem) -> PromptRequest:
    record = item.record
    return decode_request(Record(record.topic, 0, 0, record.key, record.value, record.headers, 1))


@settings(deadline=None)
@given(REQUESTS, st.booleans())
def test_what_is_published_is_what_was_uploaded_under_an_id_of_ours(request: PromptRequest, ascii_only: bool) -> None:
    fields = json.loads(request.model_dump_json(exclude_none=True))
    for name in OURS:
        del fields[name]
    item = checked(json.dumps(fields, ensure_ascii=ascii_only).encode(), 7)
    assert not isinstance(item, str), item
    expected = request.model_copy(
        update={"request_id": IDS.line("acme", JOB, 7), "tenant": "acme", "accepted_at": decoded(item).accepted_at}
    )
    assert decoded(item) == item.request == expected
    # But for its bytes, which may be the caller's own, it is the record that any producer makes.
    usual = encode_request(expected, item.record.topic, dict(item.record.headers)["traceparent"].decode())  # type: ignore[union-attr]
    assert (item.record.key, item.record.headers) == (usual.key, usual.headers)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    "written",
    [
        '{{"{name}":"other","prompt":"a"}}',
        '{{"messages":[{{"role":"user","content":"a"}}],"{name}":"other"}}',
        '{{"messages":[{{"role":"user","content":"a"}}],"{escaped}":"other"}}',
        '{{"messages":[{{"role":"user","content":"a"}}], "{name}" : null}}',
    ],
)
def test_no_writing_of_a_field_of_ours_is_let_through(name: str, written: str) -> None:
    escaped = f"{name[0]}\\u{ord(name[1]):04x}{name[2:]}"
    found = checked(written.format(name=name, escaped=escaped).encode())
    assert isinstance(found, str)
    assert name in found
    assert "gateway" in found


@pytest.mark.parametrize("text", ['"tenant"', "\u00e9", '10:30, {"a" :1}', 'x "request_id": y', "\\u0074enant"])
def test_a_prompt_may_say_what_it_likes(text: str) -> None:
    item = checked({"messages": [{"role": "user", "content": text}]})
    assert not isinstance(item, str), item
    assert decoded(item).messages == item.request.messages
    assert item.request.messages is not None
    assert item.request.messages[0].content == text


def pairs_of(value: Any) -> Iterator[list[tuple[str, Any]]]:
    """Every object's names and values, to be changed in place."""
    for each in value:
        if isinstance(each, tuple):
            yield from pairs_of([each[1]])
        elif isinstance(each, Object):
            yield each
            yield from pairs_of(each)
        elif isinstance(each, list):
            yield from pairs_of(each)


@settings(deadline=None)
@given(requests().filter(is_strict), st.data())
def test_a_name_that_stands_twice_is_refused_wherever_it_stands(request: PromptRequest, data: st.DataObject) -> None:
    fields = json.loads(request.model_dump_json(exclude_none=True, exclude=set(OURS)), object_pairs_hook=Object)
    within = data.draw(st.sampled_from([each for each in pairs_of([fields]) if each]))
    name, value = data.draw(st.sampled_from(within))
    within.insert(data.draw(st.integers(0, len(within))), (name, data.draw(st.sampled_from([value, None, "", "a:b"]))))
    space, colon = data.draw(st.sampled_from(["", " ", "\t"])), data.draw(st.sampled_from([":", ": ", " :", "\r:"]))
    found = checked(written(fields, f",{space}", colon).encode())
    assert isinstance(found, str)
    assert "twice" in found


@pytest.mark.parametrize("loose", [" :", "\t:", "\r:", "\n:"])
def test_no_white_space_hides_a_name_that_stands_twice(loose: str) -> None:
    found = checked(f'{{"messages":[{{"role":"user","content":"a"}}],"user_id":"u","user_id"{loose}"v"}}'.encode())
    assert isinstance(found, str)
    assert "twice" in found


@pytest.mark.parametrize(
    "raw",
    [
        b'{"messages":[{"role":"user","content":"a"}],"user_id":"a\\u0000b"}',
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":[{"role":"user","content":"a\0"}]}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":1e999}',
        b'{"messages":[{"role":"user","content":' + b"[" * 100 + b"]" * 100 + b"}]}",
    ],
)
def test_what_two_readers_may_read_differently_is_refused(raw: bytes) -> None:
    assert isinstance(checked(raw), str)


def test_a_cell_with_nul_is_refused() -> None:
    (item,) = [*(csv := CsvRows()).feed(b'device_name,requirements\nr1,"a\0b"\n'), *csv.end()]
    found = CHECK.checked(1, item)
    assert isinstance(found, str)
    assert "NUL" in found


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "messages"),
        ([], "not a JSON object"),
        (b"{", "not valid JSON"),
        (b'{"messages":[{"role":"user","content":"a"}]} {}', "not valid JSON"),
        (b'{"messages":[{"role":"user","content":[{"x":NaN}]}]}', "not valid JSON"),
        ({"prompt": "a", "temperature": 1}, "temperature"),
        ({"template": "no-such@1"}, "no template"),
        ({"template": "network-config@1", "variables": {"device_name": "r1"}}, "requirements"),
        ({"messages": [{"role": "user", "content": "x" * MAX_VALUE_BYTES}]}, "limit"),
    ],
)
def test_what_is_no_request_says_why(fields: Any, told: str) -> None:
    found = checked(fields)
    assert isinstance(found, str)
    assert told in found


@given(st.binary(max_size=60))
def test_no_bytes_stop_the_check(noise: bytes) -> None:
    for raw in (noise, b"{" + noise + b"}", b'{"prompt":"a",' + noise + b"}"):
        found = checked(raw)
        if not isinstance(found, str):
            assert decoded(found).request_id == UUID(int=IDS.line("acme", JOB, 1).int)
            assert decoded(found).tenant == "acme"


def test_a_key_that_allows_some_models_refuses_the_others() -> None:
    limited = Caller(KeyId("k"), "acme", frozenset({"submit"}), frozenset({"claude-haiku-5-5"}))
    check = ItemCheck(IDS, limited, JOB, "claude-haiku-5-5")
    assert not isinstance(check.checked(1, RawItem(1, b'{"prompt":"a"}')), str)
    assert check.checked(1, RawItem(1, b'{"prompt":"a","model":"claude-opus-5-5"}')) == (
        "model: the API key does not allow it"
    )
