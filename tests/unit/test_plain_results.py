"""The short way of reading a result says what the full decoding says, or nothing."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import decode_result, encode_result
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import MAX_VALUE_BYTES
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.results import from_entry
from streams.sinks.plain_results import plain_columns
from streams.sinks.port import Batch
from streams.sinks.reading import read
from streams.sinks.result_fields import Columns, ResultFields, fields_of
from tests.builders import some_work
from tests.sinks import a_result, as_record
from tests.unit.events import requests, results
from tests.unit.test_results import moments, stored_answers

law = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def told(record: Record) -> ResultFields | None:
    """What the full decoding says; None where it refuses."""
    try:
        return fields_of(decode_result(record))
    except DecodeError:
        return None


def shortly(record: Record) -> ResultFields | None:
    """What the short way says of a record alone."""
    columns = plain_columns([record])
    return None if columns is None else ResultFields(*[value for (value,) in columns])


class Fields:
    """A store that keeps the fields of each result."""

    def results(self, records: Sequence[Record], columns: Columns) -> list[ResultFields]:
        del records
        return [ResultFields(*row) for row in zip(*columns, strict=True)]

    def requests(self, records: Sequence[Record], requests: Sequence[PromptRequest]) -> None: ...

    def write(self, batch: Batch) -> None: ...


def all_read(records: Sequence[Record]) -> list[ResultFields | None]:
    """What a sink reads of each, None where it is refused."""
    reading = read(records, Fields())
    found = {record.offset: fields for chunk in reading.chunks for record, fields in zip(*chunk, strict=True)}
    assert sorted([*found, *(record.offset for record, _ in reading.refused)]) == sorted(
        each.offset for each in records
    )
    return [found.get(record.offset) for record in records]


def with_value(value: bytes | None, record: Record | None = None) -> Record:
    return (record or as_record(encode_result(a_result())))._replace(value=value)


@given(results())
@law
def test_every_result_of_our_own_is_read_on_the_short_way(result: PromptResult) -> None:
    record = as_record(encode_result(result))
    assert shortly(record) == told(record) is not None


@given(requests(), stored_answers, moments, moments)
@law
def test_the_result_of_a_hit_is_read_on_the_short_way(
    request: PromptRequest, stored: StoredAnswer, started_at: datetime, now: datetime
) -> None:
    entry = CacheEntry.from_bytes(CacheEntry.of(stored).to_bytes())
    record = as_record(from_entry(some_work(request, started_at=started_at), entry, "shared_cache", now))
    assert shortly(record) == told(record) is not None


_OTHER = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from(["", " ", "-1", "1_0", "٣", "1e3", "NaN", "0x1", "1970-01-01", "2026-11-02T24:00:00Z"])
    | st.sampled_from(["2026-11-02T09:00:00,003000Z", "2026-W45-1T09:00:00Z", "2026-11-02T09:00:00.٣٣٣٣٣٣Z"])
    | st.sampled_from(["2026-11-02T09:00:00.003Z", "2026-11-02T09:00:00.003000+01:00", "2026-11-02T09:00:60.000000Z"])
    | st.sampled_from(["01A19B7C-A680-77CA-AB1B-E2E04DB4C45F", "01a19b7ca68077caab1be2e04db4c45f", "{01a19b7c}"])
    | st.sampled_from(["01a19b7c-a680-77ca-ab1b-e2e04db4c45 ", "-01a19b7ca680-77caab1b-e2e0-4db4c45f", "a\n", "a@1\n"])
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
)


def places(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = node.items() if isinstance(node, dict) else ()
    return [path] * bool(path) + [each for key, value in inner for each in places(value, (*path, key))]


@st.composite
def damaged(draw: st.DrawFn) -> Record:
    """A record of ours with one place of its JSON changed, taken away or added to."""
    result = draw(results() | st.just(a_result(validation={"validator": "ios", "version": 1, "valid": True})))
    record = as_record(encode_result(result))
    event = json.loads(record.value or b"")
    *path, last = draw(st.sampled_from(places(event)))
    node = event
    for key in path:
        node = node[key]
    match draw(st.sampled_from(["change", "remove", "add"])):
        case "change":
            node[last] = draw(_OTHER)
        case "remove":
            del node[last]
        case _:
            node[draw(st.text(max_size=8))] = draw(_OTHER)
    return record._replace(value=json.dumps(event, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass"))


@given(damaged())
@law
def test_where_the_short_way_answers_the_full_one_says_the_same(record: Record) -> None:
    assert shortly(record) in (None, told(record))


STARTED_AT = ("timing", "started_at")
ODD: dict[tuple[str, ...], list[Any]] = {
    ("usage", "input_tokens"): [-1],
    ("usage", "cache_write_tokens"): [-1],
    ("attempts",): [-1, 1.5, "1", None, True, 2**64],
    ("request_id",): [7, "", "01a19b7ca680-77ca-ab1b-e2e04db4c45f-", "0" * 36],
    ("paid_by",): ["01a19b7c-a680-77ca-ab1b-e2e04db4c45", "01a19b7c a680 77ca ab1b e2e04db4c45f"],
    STARTED_AT: [
        *(f"2026-11-02T09:00:00{end}" for end in (".٣٣٣٣٣٣Z", ",003000Z", ".003Z", "z", "", ".003000+01:00")),
        *(
            "2026-11-02 09:00:00.003000Z",
            "2026-11-02T09:00:00.0+01:00",
            "2026-11-02T09:00:00+01Z",
            "2026-11-02T09:0:00Z",
        ),
        *(f"2026-11-02T09:00:00.00300{end}" for end in ("00Z", "0 Z", "_Z", "0X", "0z")),
        *(f"{day}T09:00:00.000000Z" for day in ("2026-W45-1", "2026-02-30", "0000-01-01")),
        *(f"2026-11-02T{time}.000000Z" for time in ("24:00:00", "09:60:00", "09:00:60")),
    ],
    ("tenant",): ["", "a\n", "a b", None, 1],
    ("labels",): [None, [], {"a\n": "b"}, {"a": 1}, {"a": "b" * 257}],
    ("department",): ["", "x" * 129, 1, False],
    ("cost_usd",): ["NaN", "1_0", " 1", "1e-9", "-1", "", 0.1, 1, True],
    ("answer",): [{}, {"text": None}, {"text": 1}, {"text": "a", "stop_reason": 1}, []],
    ("validation",): [{}, {"validator": "v", "version": 0, "valid": True}],
    ("error",): [{}, {"code": "c", "message": "m", "retryable": 3}],
    **{(name,): ["no such", 1, ""] for name in ("status", "source", "template", "fingerprint")},
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in ODD.items() for value in values], ids=str
)
def test_a_value_that_is_read_is_read_as_the_full_decoding_reads_it(path: tuple[str, ...], value: Any) -> None:
    record = as_record(encode_result(a_result()))
    event = json.loads(record.value or b"")
    node = event
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    changed = with_value(json.dumps(event).encode(), record)
    assert shortly(changed) in (None, told(changed))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@law
def test_what_is_no_result_is_left_to_the_full_decoding(value: bytes) -> None:
    assert shortly(with_value(value)) is None


HEADERS = encode_result(a_result()).headers


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": ()},
        {"headers": (*HEADERS, ("content-type", b"application/cloudevents+json"))},
        {"headers": (*HEADERS, ("ce_type", b"com.headrace.request.v1"))},
        {"headers": tuple(each for each in HEADERS if each[0] != "ce_specversion")},
        {"read_error": "the codec is unknown"},
        {"value": None},
        {"value": b""},
        {"value": b" " * MAX_VALUE_BYTES + b"{}"},
    ],
)
def test_a_record_in_another_form_is_left_to_the_full_decoding(changed: dict[str, Any]) -> None:
    assert shortly(as_record(encode_result(a_result()))._replace(**changed)) is None


def test_unknown_fields_are_passed_over_everywhere_by_the_full_decoding() -> None:
    record = as_record(encode_result(a_result()))
    event = json.loads(record.value or b"")
    for node in (event, event["timing"], event["usage"], event["answer"]):
        node["of_a_later_version"] = {"any": "thing"}
    later = with_value(json.dumps(event).encode(), record)
    assert shortly(later) is None
    assert all_read([later]) == [told(later)] == [told(record)]


def test_a_count_beyond_64_bits_is_left_to_the_full_decoding() -> None:
    record = as_record(encode_result(a_result(attempts=2**64)))
    assert shortly(record) is None
    assert fields_of(decode_result(record)).attempts == 2**64


def test_one_odd_record_takes_no_other_with_it() -> None:
    good = [as_record(encode_result(a_result(attempts=number))) for number in range(200)]
    records = [*good[:77], with_value(b"{not json"), *good[77:]]
    assert all_read(records) == [told(record) for record in records]


@given(st.lists(damaged() | results().map(lambda result: as_record(encode_result(result))), max_size=12))
@settings(law, max_examples=100)
def test_many_records_are_read_as_each_would_be_in_full(records: list[Record]) -> None:
    assert all_read(records) == [told(record) for record in records]


def test_what_was_known_is_forgotten_before_it_grows_without_end() -> None:
    records = [as_record(encode_result(a_result(user_id=f"user-{number}"))) for number in range(10_000)]
    assert [fields and fields.user_id for fields in all_read(records)] == [f"user-{n}" for n in range(10_000)]
