"""One broken record costs only itself, whatever is broken about it."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatch, LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.topics import REQUESTS
from streams.faust_worker import _record_of
from streams.tolerant_records import READ_ERROR_HEADER, TolerantRecords

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER_BYTES = 61
CRC_AT, ATTRIBUTES_AT = 17, 21
BASE = 100
MARKED_NAME = b"name-that-breaks"
RECORDS = [(b"key %d" % number, b"value %d " % number * 20) for number in range(5)]

each_codec = pytest.mark.parametrize("codec", CODECS)
each_compression = pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])


def a_batch(codec: str = "none", records: Sequence[tuple[bytes, bytes]] = RECORDS, broken: int | None = None) -> bytes:
    """A batch at offset `BASE`; the header name of record `broken` is no UTF-8."""
    plain = _built(0, records, broken)
    payload = plain[HEADER_BYTES:]
    if broken is not None:
        payload = payload.replace(MARKED_NAME, b"\xff" * len(MARKED_NAME))
    return resealed(plain[:HEADER_BYTES] + _compressed(codec, payload), CODECS[codec])


def _built(codec: int, records: Sequence[tuple[bytes, bytes]], broken: int | None = None) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 2**20)
    for number, (key, value) in enumerate(records):
        name = MARKED_NAME.decode() if number == broken else "site"
        builder.append(number, 1_000 + number, key, value, [(name, b"osl")])
    return bytes(builder.build())


def _compressed(codec: str, payload: bytes) -> bytes:
    from aiokafka import codec as codecs

    return payload if codec == "none" else bytes(getattr(codecs, f"{codec}_encode")(payload))


def resealed(batch: bytes, attributes: int) -> bytes:
    """The batch with its offset, length, codec and checksum made right."""
    changed = bytearray(batch)
    struct.pack_into(">qi", changed, 0, BASE, len(changed) - 12)
    struct.pack_into(">h", changed, ATTRIBUTES_AT, attributes)
    struct.pack_into(">I", changed, CRC_AT, calc_crc32c(bytes(changed[ATTRIBUTES_AT:])))
    return bytes(changed)


def read(chunk: bytes) -> list[Any]:
    """All records of a fetched chunk, the way the fetcher reads it."""
    records, found = TolerantRecords(chunk), []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc()
        assert not batch.is_control_batch
        found.extend(batch)
    return found


def why_marked(record: Any) -> str | None:
    """The reason in a marked record; None for an ordinary one."""
    names = [name for name, _ in record.headers]
    return record.headers[0][1].decode() if names == [READ_ERROR_HEADER] else None


def pairs(records: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    return [(record.key, record.value) for record in records]


@each_codec
def test_sound_batches_read_as_ever(codec: str) -> None:
    found = read(a_batch(codec))
    assert pairs(found) == RECORDS
    assert [record.offset for record in found] == list(range(BASE, BASE + 5))
    assert [record.timestamp for record in found] == list(range(1_000, 1_005))
    assert {tuple(record.headers) for record in found} == {(("site", b"osl"),)}


@each_codec
@pytest.mark.parametrize("broken", [0, 2, 4])
def test_a_header_name_that_is_not_utf8_costs_only_its_record(codec: str, broken: int) -> None:
    found = read(a_batch(codec, broken=broken))
    assert pairs(found) == RECORDS
    assert [record.offset for record in found] == list(range(BASE, BASE + 5))
    assert [record.timestamp for record in found] == list(range(1_000, 1_005))
    reasons = [why_marked(record) for record in found]
    assert [number for number, why in enumerate(reasons) if why is not None] == [broken]
    assert "must be UTF-8" in (reasons[broken] or "")


@each_codec
def test_a_wrong_checksum_costs_its_batch_and_no_other(codec: str) -> None:
    broken = bytearray(a_batch(codec))
    broken[CRC_AT] ^= 0xFF
    found = read(bytes(broken) + a_batch("gzip"))
    assert "checksum does not match; offsets 100 to 104" in (why_marked(found[0]) or "")
    assert (found[0].key, found[0].value) == (None, bytes(broken))
    assert pairs(found[1:]) == RECORDS


@each_compression
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_payload_that_cannot_be_decompressed_is_one_record_for_the_range(codec: str, damage: str) -> None:
    batch = a_batch(codec)
    payload = batch[HEADER_BYTES : (HEADER_BYTES + len(batch)) // 2] if damage == "cut" else b"\x00garbage" * 8
    broken = resealed(batch[:HEADER_BYTES] + payload, CODECS[codec])
    found = read(broken + a_batch())
    assert "offsets 100 to 104" in (why_marked(found[-6]) or "")
    assert found[-6].value == broken
    assert pairs(found[-5:]) == RECORDS


def test_a_codec_nobody_knows_is_one_record_for_the_range() -> None:
    [found] = read(resealed(a_batch(), attributes=7))
    assert "cannot be decompressed" in (why_marked(found) or "")


def test_the_record_for_a_range_stands_at_its_end() -> None:
    """A fetch that begins within the batch skips what lies before it; and a commit after it is the next batch's."""
    broken = bytearray(a_batch())
    broken[CRC_AT] ^= 0xFF
    assert read(bytes(broken))[0].offset == BASE + 4


def test_a_batch_cut_within_a_record_gives_what_stands_before() -> None:
    batch = a_batch()
    found = read(resealed(batch[:-30], attributes=0))
    assert pairs(found[:4]) == RECORDS[:4]
    assert "from number 5 of the batch on cannot be parsed; offsets 104 to 104" in (why_marked(found[4]) or "")


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(sorted(CODECS)))
def test_no_payload_is_too_strange(payload: bytes, codec: str) -> None:
    found = read(resealed(a_batch()[:HEADER_BYTES] + payload, CODECS[codec]) + a_batch("lz4"))
    offsets = [record.offset for record in found[:-5]]
    assert offsets
    assert all(BASE <= offset <= BASE + 4 for offset in offsets)
    assert len(offsets) <= 5
    assert pairs(found[-5:]) == RECORDS


def test_a_chunk_that_ends_within_a_batch_gives_the_whole_ones() -> None:
    chunk = a_batch() + a_batch()[:-1]
    assert pairs(read(chunk)) == RECORDS
    assert TolerantRecords(chunk).size_in_bytes() == len(chunk)


def test_an_empty_chunk_has_nothing() -> None:
    assert read(b"") == []


def test_the_old_format_is_left_to_the_library() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 2**20)
    builder.append(0, timestamp=1_000, key=b"key", value=b"value")
    batch = TolerantRecords(bytes(builder.build())).next_batch()
    assert isinstance(batch, LegacyRecordBatch)
    assert [(record.key, record.value) for record in batch] == [(b"key", b"value")]


def test_a_control_batch_can_be_looked_into() -> None:
    control = resealed(_built(0, [(b"\x00\x00\x00\x01", b"")]), attributes=0x20)
    batch = TolerantRecords(control).next_batch()
    assert batch.is_control_batch
    assert next(batch).key == b"\x00\x00\x00\x01"


@pytest.mark.parametrize("value", [None, b"\xff", b"anything"])
def test_a_producer_may_use_the_markers_name_without_harm(value: bytes | None) -> None:
    fetched = ConsumerRecord(REQUESTS, 0, 7, 1_000, 0, None, b"{}", None, -1, 2, ((READ_ERROR_HEADER, value),))
    assert _record_of(fetched, generation=1).read_error is not None
