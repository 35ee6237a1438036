"""Due order, bounds and commits of the retries process, on a topic in memory and a clock in the test's hand."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.record import OutgoingRecord, Record
from schemas.retry import retry_record_of
from schemas.topics import DEAD_LETTERS, REQUESTS, RETRY
from streams.offsets import Partition
from streams.retries.retries import Retries, reason_label
from streams.retries.shelf import Position, RetryShelf, ShelfBounds
from tests.unit.events import a_record

ONE = Partition(RETRY, 0)


class Topic:
    """One partition of the retry topic and its group's offset, as the broker keeps them, and the request topic."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.records: list[Record] = []
        self.position = Position(0)
        self.sent: list[OutgoingRecord] = []
        self.refuses: set[bytes] = set()
        self.commits = True
        self.read_to = 0
        self.paused = False
        self.on_committed: Callable[[Mapping[Partition, Position]], object] = dict
        self.passing_seconds = 0.0

    def wait(self, name: str, seconds: float) -> None:
        due_at = datetime.fromtimestamp(self.now + seconds, UTC)
        written = retry_record_of(a_record(name.encode(), topic=REQUESTS), due_at, 1, "overloaded_error")
        self.add(name.encode(), *written.headers)

    def add(self, value: bytes, *headers: tuple[str, bytes | None]) -> None:
        at_ms = int(self.now * 1000)
        self.records.append(Record(RETRY, 0, len(self.records), None, value, tuple(headers), at_ms))

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        self.now += self.passing_seconds * timeout_seconds
        found = [] if self.paused else self.records[self.read_to : self.read_to + at_most]
        self.read_to += len(found)
        return found

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        if self.commits and positions:
            self.position = positions[ONE]
            self.on_committed(positions)

    commit_now = commit

    def pause(self, partitions: Collection[Partition]) -> None:
        assert partitions == {ONE}
        self.paused = True

    def resume(self, partitions: Collection[Partition]) -> None:
        assert partitions == {ONE}
        self.paused = False

    def publish(self, records: Sequence[OutgoingRecord]) -> list[bool]:
        confirmed = [record.value not in self.refuses for record in records]
        self.sent += [record for record, there in zip(records, confirmed, strict=True) if there]
        return confirmed

    def process(self, bounds: ShelfBounds | None = None) -> Retries:
        """A process that begins where the last commit says."""
        retries = Retries(self, self.publish, lambda: self.now, lambda: self.now, bounds)
        self.read_to, self.paused = self.position.next_offset, False
        self.on_committed = retries.on_committed
        retries.on_assigned({ONE: self.position.finished_ahead})
        return retries

    @property
    def names(self) -> list[str]:
        return [(record.value or b"").decode() for record in self.sent]


def test_a_short_wait_is_not_held_behind_a_long_one() -> None:
    topic = Topic()
    for name, seconds in (("four minutes", 240), ("one minute", 60), ("two minutes", 120)):
        topic.wait(name, seconds)
    retries = topic.process()
    for _ in range(25):
        retries.step()
        topic.now += 10
    assert topic.names == ["one minute", "two minutes", "four minutes"]
    assert topic.position == Position(3)
    assert {record.topic for record in topic.sent} == {REQUESTS}


def test_nothing_is_sent_before_it_is_due() -> None:
    topic = Topic()
    topic.wait("a", 60)
    retries = topic.process()
    topic.now += 59.9
    retries.step()
    assert (topic.names, retries.waiting) == ([], 1)


def test_a_restart_sends_again_neither_the_prefix_nor_what_is_done_beyond_it() -> None:
    topic = Topic()
    for number, seconds in enumerate((1, 240, 1, 1, 240, 1)):
        topic.wait(str(number), seconds)
    first = topic.process()
    first.step()
    topic.now += 2
    first.step()
    assert first.leave()
    assert topic.position == Position(1, frozenset({2, 3, 5}))
    topic.sent.clear()
    topic.now += 300
    second = topic.process()
    second.step()
    assert topic.names == ["1", "4"]
    assert second.leave()
    assert topic.position == Position(6)


def test_what_the_broker_refuses_is_kept_and_sent_when_it_takes_it() -> None:
    topic = Topic()
    for name in ("a", "b"):
        topic.wait(name, 1)
    retries = topic.process()
    retries.step()
    topic.now += 2
    topic.refuses = {b"a"}
    retries.step()
    assert (topic.names, topic.position) == (["b"], Position(0, frozenset({1})))
    topic.refuses = set()
    retries.step()
    assert topic.names == ["b"], "it rests before it tries again"
    topic.now += 1
    retries.step()
    assert retries.leave()
    assert (topic.names, topic.position) == (["b", "a"], Position(2))


def test_a_partition_is_read_no_further_than_the_bound_and_on_when_there_is_room() -> None:
    topic = Topic()
    for number in range(30):
        topic.wait(str(number), 60 + number)
    retries = topic.process(ShelfBounds(records=1))
    retries.step()
    assert topic.paused
    topic.now += 100
    retries.step()
    assert not topic.paused
    assert topic.names == [str(number) for number in range(30)]


def test_a_record_without_headers_is_due_at_once_and_without_a_request_topic_a_dead_letter() -> None:
    topic = Topic()
    topic.add(b"bare")
    topic.add(b"headed", ("x-original-topic", REQUESTS.encode()), ("x-due-at", b"whenever"))
    retries = topic.process()
    retries.step()
    assert [(record.topic, record.value) for record in topic.sent] == [(DEAD_LETTERS, b"bare"), (REQUESTS, b"headed")]
    retries.leave()
    assert topic.position == Position(2)


def test_a_refused_commit_is_made_later() -> None:
    topic = Topic()
    topic.wait("a", 0)
    topic.commits = False
    retries = topic.process()
    retries.step()
    topic.commits = True
    topic.now += 2
    retries.step()
    assert topic.position == Position(1)


def test_leaving_does_not_wait_for_a_broker_that_is_down() -> None:
    topic = Topic()
    topic.wait("a", 0)
    topic.commits, topic.passing_seconds = False, 1.0
    retries = topic.process()
    retries.step()
    assert not retries.leave()
    assert topic.position == Position(0)


def test_on_revoke_what_was_sent_is_committed_and_on_loss_nothing_is() -> None:
    for lost in (False, True):
        topic = Topic()
        for seconds in (240, 0):
            topic.wait("x", seconds)
        retries = topic.process()
        retries._commit_at = float("inf")
        retries.step()
        retries.on_revoked([ONE], lost=lost)
        assert topic.position == (Position(0) if lost else Position(0, frozenset({1})))
        assert retries.waiting == 0


def test_a_metric_counts_only_reasons_of_a_closed_set() -> None:
    labels = [reason_label(each) for each in ("overloaded_error", "http_529", "http_999", "device r1", None)]
    assert labels == ["overloaded_error", "http_529", "other", "other", "other"]


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.integers(0, 50), max_size=25),
    crashes=st.lists(st.booleans(), min_size=1, max_size=12),
    bound=st.integers(1, 30),
)
def test_through_any_crashes_nothing_is_lost_early_or_committed_unsent(
    delays: list[int], crashes: list[bool], bound: int
) -> None:
    topic = Topic()
    due = {str(number): topic.now + delay for number, delay in enumerate(delays)}
    for number, delay in enumerate(delays):
        topic.wait(str(number), delay)
    retries = topic.process(ShelfBounds(records=bound))
    for crash in [*crashes, *[False] * (80 // 7 + len(delays))]:
        already = len(topic.sent)
        retries.step()
        assert all(due[name] <= topic.now for name in topic.names[already:])
        done = topic.position.finished_ahead | set(range(topic.position.next_offset))
        assert {str(offset) for offset in done} <= set(topic.names)
        topic.now += 7
        if crash:
            retries = topic.process(ShelfBounds(records=bound))
    assert set(topic.names) == set(due)


def test_a_shelf_counts_bytes_and_offsets_too() -> None:
    shelf = RetryShelf(ShelfBounds(bytes=1000, offsets=3))
    shelf.put(a_record(b"x" * 2000, offset=0), due=9)
    assert shelf.is_full
    shelf.finish(shelf.take_due(9, 1)[0].offset)
    assert not shelf.is_full
    for offset in (1, 2, 3):
        shelf.put(a_record(b"", offset=offset), due=9 if offset == 1 else 0)
    for waiting in shelf.take_due(1, 9):
        shelf.finish(waiting.offset)
    assert (len(shelf), shelf.is_full) == (1, True)
    assert shelf.next_due == timedelta(seconds=9).total_seconds()
