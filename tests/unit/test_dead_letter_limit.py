"""A worker stops before it drains a topic into the bin, and never for a few bad records."""

from hypothesis import given
from hypothesis import strategies as st

from streams.admission.dead_letter_limit import DeadLetterLimit


def stops_after(limit: DeadLetterLimit, records: list[bool]) -> int | None:
    return next((count for count, dead in enumerate(records, 1) if limit.feed(dead)), None)


def test_a_long_run_stops_it() -> None:
    assert stops_after(DeadLetterLimit(max_run=200, min_records=1000), [True] * 300) == 200


def test_one_good_record_ends_a_run() -> None:
    records = ([True] * 199 + [False] * 201) * 5
    assert stops_after(DeadLetterLimit(max_share=1, max_run=200), records) is None


def test_a_large_share_of_the_window_stops_it_once_enough_were_seen() -> None:
    three_in_four = [True, True, True, False] * 100
    limit = DeadLetterLimit(max_share=0.5, window_records=100, max_run=50, min_records=80)
    assert stops_after(limit, three_in_four) == 80


def test_what_left_the_window_no_longer_counts() -> None:
    limit = DeadLetterLimit(max_share=0.5, window_records=100, max_run=90, min_records=100)
    assert stops_after(limit, [True] * 50 + [False] * 100 + [True] * 50 + [False] * 50) is None


def test_it_says_what_was_seen_and_what_to_do_and_stays_with_it() -> None:
    limit = DeadLetterLimit(max_run=3)
    assert [limit.feed(True) for _ in range(3)] == [False, False, True]
    assert limit.feed(False)
    assert "last 3 records" in (limit.problem or "")
    assert "headrace dead-letters list" in (limit.problem or "")


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_it_stops_exactly_where_the_plain_rule_says(records: list[bool], window: int, run: int, at_least: int) -> None:
    def passed(count: int) -> bool:
        seen = records[:count]
        last = seen[-window:]
        in_a_row = len(seen) >= run and all(seen[-run:])
        return in_a_row or (len(last) >= at_least and sum(last) > 0.5 * len(last))

    expected = next((count for count in range(1, len(records) + 1) if passed(count)), None)
    assert stops_after(DeadLetterLimit(0.5, window, run, at_least), records) == expected
