"""Which offset may be committed while records finish in any order (invariant O)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.offsets import OffsetLine

offsets = st.lists(st.integers(0, 200), min_size=1, max_size=30, unique=True).map(sorted)
"""What a partition hands over: in order, with the gaps that compaction and transaction markers leave."""


def a_line(*taken: int) -> OffsetLine:
    line = OffsetLine(generation=1)
    for offset in taken:
        assert line.take(offset)
    return line


@given(offsets, st.randoms())
def test_the_position_never_passes_an_unfinished_record(taken: list[int], random: object) -> None:
    line, unfinished = a_line(*taken), set(taken)
    order = list(taken)
    random.shuffle(order)  # type: ignore[attr-defined]
    for offset in order:
        unfinished.remove(offset)
        line.finish(offset)
        position = line.to_commit()
        assert position is None or all(position <= left for left in unfinished)
        assert line.unfinished == len(unfinished)


@given(offsets, st.randoms())
def test_when_all_is_finished_the_position_is_after_the_last(taken: list[int], random: object) -> None:
    line, order = a_line(*taken), list(taken)
    random.shuffle(order)  # type: ignore[attr-defined]
    for offset in order:
        line.finish(offset)
    assert line.to_commit() == taken[-1] + 1
    assert (line.unfinished, line.held) == (0, 0)


@given(offsets, st.data())
def test_the_position_is_just_after_the_finished_prefix(taken: list[int], data: st.DataObject) -> None:
    finished = data.draw(st.sets(st.sampled_from(taken)))
    line = a_line(*taken)
    for offset in finished:
        line.finish(offset)
    prefix = taken[: next((number for number, offset in enumerate(taken) if offset not in finished), len(taken))]
    assert line.to_commit() == (prefix[-1] + 1 if prefix else None)
    assert line.held == len(taken) - len(prefix)


def test_nothing_finished_is_nothing_to_commit() -> None:
    assert a_line(5, 6).to_commit() is None


def test_the_first_record_in_flight_holds_the_position_even_without_a_committed_offset() -> None:
    line = a_line(0, 1, 2)
    line.finish(1)
    line.finish(2)
    assert line.to_commit() is None


def test_a_committed_position_is_not_committed_again() -> None:
    line = a_line(5, 6)
    line.finish(5)
    line.committed(6)
    assert line.to_commit() is None
    line.finish(6)
    assert line.to_commit() == 7


def test_a_record_taken_before_is_refused() -> None:
    line = a_line(5, 8)
    assert [line.take(offset) for offset in (8, 5, 6, 0)] == [False] * 4
    assert line.unfinished == 2


def test_a_finished_record_is_refused_as_well() -> None:
    line = a_line(5)
    line.finish(5)
    assert not line.take(5)


def test_records_never_begun_are_handed_back_last_first() -> None:
    line = a_line(5, 6, 7)
    line.hand_back(7)
    line.hand_back(6)
    line.finish(5)
    assert line.to_commit() == 6
    assert line.held == 0


@pytest.mark.parametrize("offset", [5, 9])
def test_only_the_record_taken_last_can_be_handed_back(offset: int) -> None:
    with pytest.raises(ValueError, match=f"offset {offset} was not the last"):
        a_line(5, 6).hand_back(offset)


def test_a_line_is_open_until_it_is_closed() -> None:
    assert not OffsetLine(generation=3).closed
