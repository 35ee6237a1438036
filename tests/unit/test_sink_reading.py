"""What a sink makes of what it reads: rows, dead letters, or nothing, for each record its own."""

from schemas.codec import encode_request, encode_result
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.topics import REQUESTS, RESULTS
from streams.sinks.memory_store import MemoryStore
from streams.sinks.sink import read
from tests.sinks import a_result, as_record
from tests.unit.events import a_record, a_request


def what_became_of(*records: Record) -> list[str]:
    readings = read(records, MemoryStore())
    assert [record for record, _ in readings] == list(records)
    return [row.reason if isinstance(row, DecodeError) else "nothing" if row is None else "row" for _, row in readings]


def test_topics_may_come_in_any_order() -> None:
    result, request = as_record(encode_result(a_result())), as_record(encode_request(a_request(), REQUESTS))
    assert what_became_of(result, request, request, result, result) == ["row"] * 5


def test_a_broken_result_becomes_a_dead_letter_and_a_broken_request_is_left_to_the_worker() -> None:
    good = as_record(encode_result(a_result()))
    broken_result, broken_request = a_record(b"{", topic=RESULTS), a_record(b"{", topic=REQUESTS)
    assert what_became_of(good, broken_result, good, broken_request) == ["row", "not_json", "row", "nothing"]


def test_bare_json_without_headers_is_a_result_too() -> None:
    assert what_became_of(a_record(encode_result(a_result()).value, topic=RESULTS)) == ["row"]


def test_nothing_read_is_nothing_made() -> None:
    assert what_became_of() == []
