"""Events survive the way through Kafka in every form a publisher may use; broken ones are named, never quoted."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode_request, decode_result, encode_request, encode_result
from schemas.dead_letter import REASONS, DecodeError
from schemas.record import Record
from schemas.request import REQUEST_TYPE, PromptRequest
from schemas.result import RESULT_TYPE, PromptResult
from schemas.topics import BULK_REQUESTS, MAX_VALUE_BYTES, REQUESTS, RESULTS
from tests.unit.events import a_record, a_request, as_read, requests, results

SECRET = "zanzibar-9000"
BINARY = (("ce_specversion", b"1.0"), ("ce_type", REQUEST_TYPE.encode()))
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=utf-8")


def cloud_event(request: PromptRequest) -> CloudEvent:
    attributes = {
        "type": REQUEST_TYPE,
        "source": "/upstream",
        "id": str(request.request_id),
        "specversion": "1.0",
        "time": request.accepted_at,
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data=request.model_dump(mode="json", exclude_none=True))


def from_library(message: KafkaMessage) -> Record:
    return a_record(message.value, *message.headers.items())


@settings(max_examples=60, deadline=None)
@given(requests())
def test_a_request_survives_binary_mode(request: PromptRequest) -> None:
    assert decode_request(as_read(encode_request(request, REQUESTS))) == request


@settings(max_examples=60, deadline=None)
@given(results())
def test_a_result_survives_binary_mode(result: PromptResult) -> None:
    assert decode_result(as_read(encode_result(result))) == result


@settings(max_examples=30, deadline=None)
@given(results())
def test_the_same_result_gives_the_same_bytes(result: PromptResult) -> None:
    again = PromptResult.model_validate_json(encode_result(result).value or b"")
    assert encode_result(again) == encode_result(result)


@settings(max_examples=30, deadline=None)
@given(requests())
def test_the_cloudevents_library_reads_our_records(request: PromptRequest) -> None:
    written = encode_request(request, REQUESTS)
    headers = {name: value or b"" for name, value in written.headers}
    event = from_binary(KafkaMessage(headers, written.key, written.value or b""), JSONFormat())
    assert event.get_type() == REQUEST_TYPE
    assert event.get_id() == str(request.request_id)
    assert event.get_subject() == request.tenant
    assert event.get_time() == request.accepted_at
    assert event.get_data() == json.loads(written.value or b"")


@settings(max_examples=30, deadline=None)
@given(requests())
def test_we_read_what_the_cloudevents_library_writes_in_both_modes(request: PromptRequest) -> None:
    event = cloud_event(request)
    assert decode_request(from_library(to_binary(event, JSONFormat()))) == request
    assert decode_request(from_library(to_structured(event, JSONFormat()))) == request


@settings(max_examples=30, deadline=None)
@given(requests())
def test_bare_json_without_any_header_is_a_request(request: PromptRequest) -> None:
    assert decode_request(a_record(request.model_dump_json().encode())) == request


def test_a_bare_request_was_accepted_when_the_broker_stamped_it() -> None:
    value = a_request().model_dump_json(exclude={"accepted_at"}).encode()
    accepted = decode_request(a_record(value, timestamp_ms=1_793_612_400_000)).accepted_at
    assert accepted.timestamp() == 1_793_612_400


@pytest.mark.parametrize("timestamp_ms", [-1, 0, 2**62, -(2**62)])
def test_a_timestamp_that_is_no_date_does_not_stop_a_request(timestamp_ms: int) -> None:
    value = a_request().model_dump_json(exclude={"accepted_at"}).encode()
    assert decode_request(a_record(value, timestamp_ms=timestamp_ms)).request_id == a_request().request_id


def test_fields_of_a_newer_version_are_passed_over_at_every_depth() -> None:
    body = a_request().model_dump(mode="json") | {"invented_later": 1}
    body["messages"][0]["invented_later"] = 1
    body["cache"]["invented_later"] = 1
    assert decode_request(a_record(json.dumps(body).encode())) == a_request(accepted_at=body["accepted_at"])


def test_identical_questions_meet_on_one_partition_and_results_are_keyed_by_request() -> None:
    first, second = a_request(user_id="ann"), a_request(user_id="bob", labels={"site": "osl-01"})
    assert encode_request(first, REQUESTS).key == encode_request(second, BULK_REQUESTS).key
    assert encode_request(first, REQUESTS).topic == REQUESTS


@settings(max_examples=10, deadline=None)
@given(results())
def test_a_result_goes_to_the_result_topic_under_its_request_id(result: PromptResult) -> None:
    written = encode_result(result, "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    assert (written.topic, written.key) == (RESULTS, str(result.request_id).encode())
    assert as_read(written).header("traceparent") == "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


@settings(max_examples=30, deadline=None)
@given(results())
def test_money_travels_as_plain_digits(result: PromptResult) -> None:
    body = json.loads(encode_result(result).value or b"")
    assert all(set(body.get(name, "0")) <= set("0123456789.") for name in ("cost_usd", "saved_usd"))


def structured(data: Any, **attributes: Any) -> Record:
    event = {"specversion": "1.0", "type": REQUEST_TYPE, "id": "1", "source": "s", "data": data} | attributes
    return a_record(json.dumps(event).encode(), STRUCTURED)


def body(**changed: Any) -> bytes:
    return json.dumps(a_request().model_dump(mode="json") | changed).encode()


BROKEN = [
    ("empty_value", a_record(None)),
    ("empty_value", a_record(b"")),
    ("oversize", a_record(b'"' + SECRET.encode() * (MAX_VALUE_BYTES // len(SECRET) + 1) + b'"')),
    ("not_json", a_record(SECRET.encode())),
    ("not_json", a_record(b"\xff\xfe" + SECRET.encode())),
    ("not_json", a_record(b"[" * 200_000)),
    ("not_json", a_record(body(template=SECRET)[:-1])),
    ("not_json", a_record(b'{"tenant": "\\ud800"}')),
    ("invalid_event", a_record(body(), ("ce_type", REQUEST_TYPE.encode()))),
    ("invalid_event", a_record(body(), ("ce_specversion", b"0.3"), ("ce_type", REQUEST_TYPE.encode()))),
    ("invalid_event", a_record(body(), ("ce_specversion", b"\xff"), ("ce_type", REQUEST_TYPE.encode()))),
    ("invalid_event", a_record(SECRET.encode(), STRUCTURED)),
    ("invalid_event", a_record(b"[" * 200_000, STRUCTURED)),
    ("invalid_event", a_record(json.dumps({"data": SECRET}).encode(), STRUCTURED)),
    ("unknown_type", a_record(body(), ("ce_specversion", b"1.0"), ("ce_type", SECRET.encode()))),
    ("unknown_type", a_record(body(), ("ce_specversion", b"1.0"))),
    ("unknown_type", structured({}, type=RESULT_TYPE)),
    ("not_json", structured(SECRET)),
    ("not_json", structured("\ud800")),
    ("invalid_request", structured(None)),
    ("invalid_request", structured({SECRET: SECRET})),
    ("invalid_request", a_record(b"null", *BINARY)),
    ("invalid_request", a_record(json.dumps([SECRET]).encode())),
    ("invalid_request", a_record(body(request_id="7" + SECRET))),
    ("invalid_request", a_record(body(tenant=SECRET + "!"))),
    ("invalid_request", a_record(body(labels={SECRET + " ": "x"}))),
    ("invalid_request", a_record(body(template=SECRET))),
    ("invalid_request", a_record(body(messages=None))),
    ("invalid_request", a_record(body(messages=[{"role": SECRET, "content": [SECRET]}]))),
    ("invalid_request", a_record(body(messages=[{"role": "user", "content": [{"n": float("nan"), "t": SECRET}]}]))),
    ("invalid_request", a_record(body(max_tokens=SECRET, deadline=SECRET, cache={"mode": SECRET}))),
    ("unreadable_record", a_record(None, read_error="the codec of the batch is unknown")),
]


@pytest.mark.parametrize(("reason", "record"), BROKEN, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(BROKEN)])
def test_a_broken_record_gives_its_reason_and_never_its_content(reason: str, record: Record) -> None:
    with pytest.raises(DecodeError) as refusal:
        decode_request(record)
    assert refusal.value.reason == reason
    assert SECRET not in str(refusal.value)
    assert refusal.value.message
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_every_reason_has_a_record_that_shows_it() -> None:
    given_later = {"crash_loop", "refused_by_store"}  # by the intake guard and by the sinks
    assert {reason for reason, _ in BROKEN} == set(REASONS) - given_later


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from(["ce_type", "ce_specversion", "content-type", "x"]), st.binary(max_size=30))),
)
def test_no_bytes_at_all_raise_anything_but_a_decode_error(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    for decode in (decode_request, decode_result):
        for extra in ((), (STRUCTURED,)):
            with pytest.raises(DecodeError):
                decode(a_record(value, *headers, *extra))
