"""A request waits with everything about it in headers, and comes back as it was."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_request
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.retry import (
    LONGEST_DELAY,
    attempts_of,
    back_to_request_topic,
    due_at_of,
    first_seen_of,
    retry_record_of,
)
from schemas.topics import BULK_REQUESTS, DEAD_LETTERS, REQUESTS, RESULTS, RETRY
from tests.unit.events import A_TIME, a_record, as_read

A_MOMENT_MS = int(A_TIME.timestamp() * 1000)


def waiting(record: Record, attempt: int = 1, delay: timedelta = timedelta(seconds=60)) -> Record:
    return as_read(retry_record_of(record, A_TIME + delay, attempt, "overloaded_error"), A_MOMENT_MS)


def returned(record: Record) -> Record:
    return as_read(back_to_request_topic(record), A_MOMENT_MS + 60_000)


@given(
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    topic=st.sampled_from([REQUESTS, BULK_REQUESTS]),
    attempts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    stamped_ms=st.integers(0, 4 * 10**12),
)
def test_however_often_it_waits_the_request_comes_back_as_it_was(
    key: bytes | None, value: bytes | None, topic: str, attempts: list[int], stamped_ms: int
) -> None:
    kept = (("ce_type", b"t"), ("traceparent", b"00-a-b-01"), ("content-type", b"c"))
    record = a_record(value, *kept, key=key, topic=topic, timestamp_ms=stamped_ms)
    for attempt in attempts:
        record = returned(waiting(record, attempt))
    assert (record.topic, record.key, record.value) == (topic, key, value)
    assert (attempts_of(record), first_seen_of(record)) == (attempts[-1], stamped_ms)
    assert record.headers[:3] == kept
    names = [name for name, _ in record.headers]
    assert len(names) == len(set(names)), "headers do not pile up round by round"


def test_why_and_until_when_it_waits_stands_in_headers() -> None:
    record = waiting(a_record(b"v", ("authorization", b"s3cret"), timestamp_ms=5), attempt=2)
    assert record.topic == RETRY
    assert dict(record.headers) == {
        "x-original-topic": b"llm.requests",
        "x-attempt": b"2",
        "x-due-at": b"2026-11-02T09:31:00+00:00",
        "x-first-seen": b"5",
        "x-error-type": b"overloaded_error",
    }
    assert due_at_of(record) == A_TIME + timedelta(seconds=60)


def test_a_request_without_its_time_keeps_that_of_its_first_record() -> None:
    bare = (
        b'{"request_id":"0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04","tenant":"a","messages":[{"role":"user","content":"x"}]}'
    )
    first = a_record(bare, timestamp_ms=A_MOMENT_MS)
    assert decode_request(returned(waiting(first))).accepted_at == decode_request(first).accepted_at == A_TIME


@pytest.mark.parametrize("due_at", [None, b"soon", b"", b"2026-11-02T09:31:00", b"\xff", b"2099-01-01T00:00:00Z"])
def test_without_a_due_time_of_ours_it_is_due_at_once(due_at: bytes | None) -> None:
    headers = () if due_at is None else (("x-due-at", due_at),)
    assert due_at_of(a_record(b"v", *headers, timestamp_ms=A_MOMENT_MS)) is None


def test_a_wait_of_a_day_is_the_longest() -> None:
    assert due_at_of(waiting(a_record(b"v"), delay=LONGEST_DELAY)) is not None
    assert due_at_of(waiting(a_record(b"v"), delay=LONGEST_DELAY + timedelta(seconds=1))) is None
    assert due_at_of(a_record(b"v", ("x-due-at", b"2026-11-02T09:31:00Z"), timestamp_ms=10**18)) is None


@pytest.mark.parametrize("attempt", [b"", b"-1", b"two", b"1e3", "٣".encode(), b"9" * 5000])
def test_an_unreadable_count_of_attempts_is_none_burnt(attempt: bytes) -> None:
    assert attempts_of(a_record(b"v", ("x-attempt", attempt))) == 0


@pytest.mark.parametrize("topic", [None, RESULTS, DEAD_LETTERS, RETRY, "elsewhere"])
def test_it_returns_to_no_other_topic_than_those_of_requests(topic: str | None) -> None:
    headers = () if topic is None else (("x-original-topic", topic.encode()),)
    with pytest.raises(DecodeError, match=r"llm\.requests or llm\.requests\.bulk"):
        back_to_request_topic(a_record(b"v", *headers, topic=RETRY))


def test_a_due_time_of_another_zone_is_the_same_moment() -> None:
    record = retry_record_of(a_record(b"v"), datetime.fromisoformat("2026-11-02T12:00:00+02:00"), 1, "x")
    assert due_at_of(as_read(record, A_MOMENT_MS)) == datetime(2026, 11, 2, 10, tzinfo=UTC)
