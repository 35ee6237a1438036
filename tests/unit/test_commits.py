"""A sink's commits: never waited for, one at a time, sent again until the broker has confirmed them."""

from hypothesis import given
from hypothesis import strategies as st

from streams.sinks.batching import Partition
from streams.sinks.commits import Commits

FIRST, SECOND = ("llm.results", 0), ("llm.results", 1)


def owing(**offsets: int) -> Commits:
    commits = Commits()
    commits.add({FIRST: offsets["first"], SECOND: offsets["second"]})
    return commits


def test_nothing_is_sent_where_nothing_is_owed() -> None:
    commits = Commits()
    assert commits.to_send() == {}
    commits.add({FIRST: 7})
    assert commits.to_send() == {FIRST: 7}


def test_one_commit_is_under_way_at_a_time() -> None:
    commits = owing(first=7, second=3)
    assert commits.to_send() == {FIRST: 7, SECOND: 3}
    commits.add({FIRST: 9})
    assert commits.to_send() == {}
    commits.answered({FIRST: 7, SECOND: 3})
    assert commits.to_send() == {FIRST: 9}


def test_what_the_broker_refused_goes_with_the_next_one() -> None:
    commits = owing(first=7, second=3)
    commits.to_send()
    commits.answered({FIRST: 7})
    assert commits.to_send() == {SECOND: 3}


def test_a_commit_that_failed_altogether_is_sent_again() -> None:
    commits = owing(first=7, second=3)
    commits.to_send()
    commits.answered({})
    assert commits.to_send() == {FIRST: 7, SECOND: 3}


def test_an_answer_about_an_older_offset_confirms_no_newer_one() -> None:
    commits = owing(first=7, second=3)
    commits.to_send()
    commits.add({FIRST: 9})
    commits.answered({FIRST: 7, SECOND: 3})
    assert commits.unconfirmed == {FIRST: 9}


def test_another_members_partitions_are_not_committed_any_more() -> None:
    commits = owing(first=7, second=3)
    commits.forget([FIRST, ("llm.results", 11)])
    assert commits.to_send() == {SECOND: 3}


def test_a_commit_that_was_waited_for_needs_no_other() -> None:
    commits = owing(first=7, second=3)
    commits.confirm({FIRST: 7, SECOND: 3})
    assert commits.to_send() == {}


partitions = st.sampled_from([FIRST, SECOND])
happenings = st.lists(st.tuples(partitions, st.booleans(), st.booleans()), max_size=40)


@given(happenings)
def test_the_broker_has_the_last_offset_of_all_once_it_answers(happened: list[tuple[Partition, bool, bool]]) -> None:
    commits = Commits()
    written, at_broker, under_way = dict[Partition, int](), dict[Partition, int](), dict[Partition, int]()
    for offset, (place, sends, answers) in enumerate(happened):
        commits.add({place: offset})
        written[place] = offset
        if sends and not under_way:
            under_way = commits.to_send()
        if answers and under_way:
            at_broker |= under_way
            commits.answered(under_way)
            under_way = {}
    if under_way:
        at_broker |= under_way
        commits.answered(under_way)
    at_broker |= commits.to_send()
    assert at_broker == written
