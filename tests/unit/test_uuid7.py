from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from producers.uuid7 import time_of, unix_ms_of, uuid7, uuid7_within

MILLISECONDS = st.integers(min_value=0, max_value=(1 << 48) - 1)
BITS = st.integers(min_value=0, max_value=(1 << 74) - 1)


def test_the_example_of_the_rfc_is_met() -> None:
    # RFC 9562, appendix A.6
    bits = (0xCC3 << 62) | 0x18C4DC0C0C07398F
    assert uuid7(0x017F22E279B0, bits) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@given(MILLISECONDS, BITS)
def test_every_id_is_of_version_7_and_tells_its_time(unix_ms: int, bits: int) -> None:
    identity = uuid7(unix_ms, bits)
    assert (identity.version, identity.variant) == (7, "specified in RFC 4122")
    assert unix_ms_of(identity) == unix_ms


@given(MILLISECONDS, MILLISECONDS, BITS, BITS)
def test_a_later_id_sorts_behind_an_earlier_one(one: int, other: int, bits: int, more: int) -> None:
    if one < other:
        assert uuid7(one, bits) < uuid7(other, more)


@given(MILLISECONDS, BITS, BITS)
def test_different_bits_are_different_ids(unix_ms: int, bits: int, more: int) -> None:
    assert (uuid7(unix_ms, bits) == uuid7(unix_ms, more)) == (bits == more)


def test_ids_made_now_are_of_now_and_unlike_each_other() -> None:
    made = {uuid7() for _ in range(1000)}
    assert len(made) == 1000
    assert all(abs((time_of(identity) - datetime.now(UTC)).total_seconds()) < 5 for identity in made)


def test_an_id_within_a_run_is_stable_and_has_the_time_of_the_run() -> None:
    run = uuid7()
    assert uuid7_within(run, b"1") == uuid7_within(run, b"1")
    assert uuid7_within(run, b"1") != uuid7_within(run, b"2")
    assert uuid7_within(run, b"1") != uuid7_within(uuid7(), b"1")
    assert time_of(uuid7_within(run, b"1")) == time_of(run)
