"""What is done beyond the committed offset survives as a short text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.retries.finished_ahead import LONGEST_NOTE, finished_in, note_of


@given(st.integers(0, 2**40), st.sets(st.integers(0, 400)))
def test_a_note_reads_back_as_what_was_noted(start: int, ahead: set[int]) -> None:
    finished = {start + each for each in ahead}
    assert finished_in(start, note_of(start, finished)) == finished


def test_a_note_says_runs() -> None:
    assert note_of(10, {11, 12, 13, 16}) == "ahead:1+3,2+1"
    assert note_of(10, ()) == ""


def test_a_note_too_long_for_the_broker_keeps_the_first_of_it() -> None:
    every_second = set(range(1, 20_000, 2))
    note = note_of(0, every_second)
    assert len(note) <= LONGEST_NOTE
    kept = finished_in(0, note)
    assert kept
    assert kept == {offset for offset in every_second if offset <= max(kept)}


@pytest.mark.parametrize(
    "note", [None, "", "ahead:", "ahead:1", "ahead:1+2;3", "other", "ahead:1+999999,1+999999", "ahead:-1+2"]
)
def test_a_note_of_somebody_else_says_nothing(note: str | None) -> None:
    assert finished_in(0, note) == frozenset()
