"""Schema ids on records: written as switched on, read however they come, put on once."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_request, decode_result, encode_request, encode_result
from schemas.framing import SCHEMA_ID_HEADER, NoGuidError, SchemaId, framing_with, unframed
from schemas.record import OutgoingRecord
from schemas.topics import DEAD_LETTERS, MAX_VALUE_BYTES, REQUESTS, RESULTS
from tests.sinks import a_result, as_record
from tests.unit.events import a_request

GUID = UUID("0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04")
IDS = {REQUESTS: SchemaId(7, GUID), RESULTS: SchemaId(8, GUID)}
PREFIXES = st.one_of(
    st.integers(0, 2**31 - 1).map(lambda number: SchemaId(number).prefix()),
    st.uuids().map(lambda guid: SchemaId(0, guid).header_value()),
)


def test_the_header_leaves_the_value_as_it_is() -> None:
    plain = encode_request(a_request(), REQUESTS)
    framed = framing_with(IDS, "header")(plain)
    assert framed.value == plain.value
    assert dict(framed.headers)[SCHEMA_ID_HEADER] == b"\x01" + GUID.bytes


def test_the_prefix_is_a_zero_and_four_bytes_of_the_number() -> None:
    plain = encode_request(a_request(), REQUESTS)
    assert framing_with(IDS, "prefix")(plain).value == b"\x00\x00\x00\x00\x07" + (plain.value or b"")


@pytest.mark.parametrize("framing", ["header", "prefix"])
def test_what_we_frame_we_read(framing: str) -> None:
    frame = framing_with(IDS, framing)  # type: ignore[arg-type]
    request, result = a_request(), a_result()
    assert decode_request(as_record(frame(encode_request(request, REQUESTS)))) == request
    assert decode_result(as_record(frame(encode_result(result)))) == result


@pytest.mark.parametrize("framing", ["header", "prefix"])
def test_a_record_is_framed_once_and_one_of_another_topic_never(framing: str) -> None:
    frame = framing_with(IDS, framing)  # type: ignore[arg-type]
    once = frame(encode_request(a_request(), REQUESTS))
    assert frame(once) == once
    letter = OutgoingRecord(DEAD_LETTERS, None, b"anything")
    assert frame(letter) == letter


def test_a_registry_without_guids_cannot_fill_a_header() -> None:
    with pytest.raises(NoGuidError, match="HEADRACE_SCHEMA_REGISTRY_FRAMING=prefix"):
        framing_with({REQUESTS: SchemaId(7)}, "header")


@given(prefix=PREFIXES)
def test_any_prefix_is_taken_off(prefix: bytes) -> None:
    assert unframed(prefix + b"{}") == b"{}"


@given(value=st.binary(max_size=40).filter(lambda value: value[:1] not in {b"\x00", b"\x01"}))
def test_what_has_no_prefix_stays_whole(value: bytes) -> None:
    assert unframed(value) == value


@given(value=st.binary(min_size=1, max_size=17).map(lambda value: b"\x00" + value))
def test_no_value_is_taken_for_a_prefix_alone(value: bytes) -> None:
    assert unframed(value)


def test_a_prefix_takes_no_room_from_the_largest_value() -> None:
    plain = encode_request(a_request(), REQUESTS)
    body = plain.value or b""
    padded = plain._replace(value=body + b" " * (MAX_VALUE_BYTES - len(body)))
    framed = framing_with(IDS, "prefix")(padded)
    assert len(framed.value or b"") > MAX_VALUE_BYTES
    assert decode_request(as_record(framed)).request_id
