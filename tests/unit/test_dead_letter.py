"""A dead letter is the record as it came, with where it came from and why, and nothing that could be secret."""

from datetime import UTC, datetime

from schemas.dead_letter import DeadLetterHeaders, DecodeError, dead_letter_of
from schemas.topics import DEAD_LETTERS
from tests.unit.events import a_record

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ERROR = DecodeError("not_json", "the value is not valid JSON")


def test_key_and_value_are_untouched() -> None:
    for key, value in ((b"k", b"\xff\x00"), (None, None), (b"", b"")):
        letter = dead_letter_of(a_record(value, key=key), ERROR, NOW)
        assert (letter.topic, letter.key, letter.value) == (DEAD_LETTERS, key, value)


def test_origin_and_reason_stand_in_headers() -> None:
    letter = dead_letter_of(a_record(b"x", partition=7, offset=99, timestamp_ms=5), ERROR, NOW)
    assert dict(letter.headers) == {
        "x-original-topic": b"llm.requests",
        "x-original-partition": b"7",
        "x-original-offset": b"99",
        "x-original-timestamp": b"5",
        "x-error-type": b"not_json",
        "x-error-message": b"the value is not valid JSON",
        "x-dead-lettered-at": b"2026-11-02T09:30:00Z",
    }


def test_headers_read_back_into_their_model() -> None:
    letter = dead_letter_of(a_record(b"x"), ERROR, NOW)
    about = DeadLetterHeaders.model_validate({name: (value or b"").decode() for name, value in letter.headers})
    assert (about.x_original_offset, about.x_error_type, about.x_dead_lettered_at) == (41, "not_json", NOW)


def test_event_and_trace_headers_are_kept_and_all_others_left_behind() -> None:
    kept = (("ce_type", b"\xff"), ("traceparent", b"t"), ("idempotency-key", b"i"), ("content-type", b"c"))
    letter = dead_letter_of(a_record(b"x", *kept, ("authorization", b"s3cret"), ("x-api-key", b"s3cret")), ERROR, NOW)
    assert letter.headers[:4] == kept
    assert b"s3cret" not in b"".join(value or b"" for _, value in letter.headers)


def test_a_dead_letter_that_dies_again_tells_its_last_origin_once() -> None:
    first = dead_letter_of(a_record(b"x"), ERROR, NOW)
    again = dead_letter_of(a_record(b"x", *first.headers, topic=DEAD_LETTERS), ERROR, NOW)
    origins = [value for name, value in again.headers if name == "x-original-topic"]
    assert origins == [DEAD_LETTERS.encode()]


def test_a_message_that_is_no_unicode_does_not_stop_it() -> None:
    letter = dead_letter_of(a_record(None), DecodeError("unreadable_record", "codec \udcff"), NOW)
    assert dict(letter.headers)["x-error-message"] == b"codec ?"
