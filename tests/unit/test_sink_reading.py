"""What a sink makes of what it reads: rows, dead letters, or nothing, for each record its own."""

from schemas.codec import encode_request, encode_result
from schemas.record import Record
from schemas.topics import REQUESTS, RESULTS
from streams.sinks.memory_store import MemoryStore
from streams.sinks.reading import read
from tests.sinks import a_result, as_record
from tests.unit.events import a_record, a_request


def what_became_of(*records: Record) -> list[str]:
    """By place: each record stands at its own."""
    placed = [record._replace(offset=at) for at, record in enumerate(records)]
    chunks, refused = read(placed, MemoryStore())
    assert all(len(chunk.records) == len(chunk.rows) for chunk in chunks)
    kept = dict.fromkeys((record.offset for chunk in chunks for record in chunk.records), "row")
    aside = {record.offset: error.reason for record, error in refused}
    return [{**kept, **aside}.get(record.offset, "nothing") for record in placed]


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
