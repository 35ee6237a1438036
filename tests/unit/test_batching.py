"""When a batch is due, and what of it survives a rebalance."""

from typing import Any

import pytest

from schemas.dead_letter import DecodeError
from schemas.record import Record
from streams.sinks.batching import BatchPolicy, OpenBatch
from streams.sinks.port import Batch, Chunk
from streams.sinks.reading import Reading
from tests.unit.events import a_record

POLICY = BatchPolicy(rows=3, age_seconds=1.0, bytes=100)


def taken(batch: OpenBatch, partition: int, offset: int, *, now: float = 0.0, value: bytes = b"{}") -> None:
    record = a_record(value, partition=partition, offset=offset)
    batch.take([record], Reading([Chunk([record], [(offset,)])], []), now)


def test_an_empty_batch_is_never_due() -> None:
    assert not OpenBatch(POLICY).is_due(now=1_000)


def test_a_batch_is_due_once_its_first_record_has_waited() -> None:
    batch = OpenBatch(POLICY)
    taken(batch, 0, 7, now=10.0)
    taken(batch, 0, 8, now=10.9)
    assert not batch.is_due(10.99)
    assert batch.is_due(11.0)


def test_a_batch_is_due_when_it_is_full_by_rows() -> None:
    batch = OpenBatch(POLICY)
    for offset in range(3):
        taken(batch, 0, offset)
    assert batch.is_due(0.0)
    assert batch.room == 0


def test_a_batch_is_due_when_it_is_full_by_bytes() -> None:
    batch = OpenBatch(POLICY)
    taken(batch, 0, 1, value=b"x" * 100)
    assert batch.is_due(0.0)


@pytest.mark.parametrize(("eager_rows", "least"), [(5_000, 5_000), (600, 1_000)])
def test_an_idle_writer_need_not_wait_for_a_whole_batch_but_gets_no_handful(eager_rows: int, least: int) -> None:
    batch = OpenBatch(BatchPolicy(rows=10_000, eager_rows=eager_rows))
    records = [a_record(b"{}", offset=offset) for offset in range(least - 1)]
    batch.take(records, Reading([Chunk(records, list(records))], []), 0.0)
    assert not batch.is_worth_a_write()
    taken(batch, 0, least)
    assert batch.is_worth_a_write()
    assert not batch.is_due(0.0)


def test_where_whole_batches_are_wanted_half_a_batch_waits_for_the_rest() -> None:
    batch = OpenBatch(BatchPolicy(rows=2_000))
    records = [a_record(b"{}", offset=offset) for offset in range(1_999)]
    batch.take(records, Reading([Chunk(records, list(records))], []), 0.0)
    assert not batch.is_worth_a_write()
    taken(batch, 0, 1_999)
    assert batch.is_due(0.0)


def test_records_passed_over_and_refused_move_the_offset_too() -> None:
    batch = OpenBatch(POLICY)
    taken(batch, 0, 1)
    bad, passed_over = a_record(b"", partition=0, offset=2), a_record(b"?", partition=1, offset=9)
    batch.take([bad, passed_over], Reading([], [(bad, DecodeError("empty_value", "nothing"))]), 0.0)
    assert batch.next_offsets == {("llm.requests", 0): 3, ("llm.requests", 1): 10}
    assert len(batch.batch) == len(batch.refused) == 1


def test_what_another_member_reads_now_is_never_committed_and_set_aside_by_that_one() -> None:
    batch = OpenBatch(POLICY)
    taken(batch, 0, 1)
    taken(batch, 1, 5)
    bad = a_record(b"", partition=0, offset=2)
    batch.take([bad], Reading([], [(bad, DecodeError("empty_value", "nothing"))]), 0.0)
    batch.forget([("llm.requests", 0)])
    assert batch.next_offsets == {("llm.requests", 1): 6}
    assert batch.refused == []


def test_halves_of_a_batch_are_all_of_it_down_to_single_records() -> None:
    records = [a_record(b"{}", offset=offset) for offset in range(7)]
    parts = [Batch([Chunk(records[:4], records[:4]), Chunk(records[4:], records[4:])])]
    while any(len(part) > 1 for part in parts):
        parts = [half for part in parts for half in (part.halves() if len(part) > 1 else [part])]
    assert [part.records for part in parts] == [[record] for record in records]
    assert all(chunk.records == chunk.rows for part in parts for chunk in part.chunks)


def test_owed_offsets_never_take_back_what_was_read_since() -> None:
    batch = OpenBatch(POLICY)
    taken(batch, 0, 9)
    batch.owe({("llm.requests", 0): 5, ("llm.requests", 1): 2}, now=0.0)
    assert batch.next_offsets == {("llm.requests", 0): 10, ("llm.requests", 1): 2}


def test_owed_offsets_alone_come_due() -> None:
    batch = OpenBatch(POLICY)
    batch.owe({("llm.requests", 0): 5}, now=3.0)
    assert not batch.is_due(3.5)
    assert batch.is_due(4.0)


def batch_of(*records: Record) -> Batch:
    return Batch([Chunk(records, records)])


def test_the_same_records_have_the_same_token() -> None:
    first, second = a_record(b"1", offset=1), a_record(b"2", offset=2)
    assert batch_of(first, second).token == batch_of(first, second).token


@pytest.mark.parametrize("changed", [{"offset": 3}, {"partition": 9}, {"timestamp_ms": 9}, {"topic": "llm.results"}])
def test_other_records_have_another_token(changed: dict[str, Any]) -> None:
    first, second = a_record(b"1", offset=1), a_record(b"2", offset=2)
    other = a_record(b"2", **({"offset": 2} | changed))
    assert batch_of(first, second).token != batch_of(first, other).token


def test_a_batch_with_a_gap_has_another_token() -> None:
    first, second, third = (a_record(b"1", offset=offset) for offset in (1, 2, 3))
    assert batch_of(first, second, third).token != batch_of(first, third).token
