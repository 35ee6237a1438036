"""The retries process: hold each waiting request until it is due, put it back on its topic, then commit.

Nothing here sleeps: a read lasts until the next record is due, or a quarter of a second. The topic is the only state:
what is not committed is read again. Knows no Kafka library.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from schemas.dead_letter import DecodeError, dead_letter_of
from schemas.record import OutgoingRecord, Record
from schemas.retry import ERROR_TYPE, back_to_request_topic, due_at_of
from streams import metrics
from streams.logs import logger_named
from streams.offsets import Partition
from streams.retries.shelf import Position, RetryShelf, ShelfBounds

log = logger_named("retries")

_READ_RECORDS: Final = 500
_SEND_RECORDS: Final = 500
_READ_SECONDS: Final = 0.25
_COMMIT_SECONDS: Final = 1.0
_SHORTEST_REST_SECONDS: Final = 0.5
_LONGEST_REST_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 3.0
_LEAVE_READ_SECONDS: Final = 0.1

Publish = Callable[[Sequence[OutgoingRecord]], Sequence[bool]]
"""Returns when the broker has answered for all of them: which are confirmed, in their order."""


class RetrySource(Protocol):
    """The retry topic, read as a member of a group."""

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        """Up to so many records, fewer after the timeout. Membership lives by calling this."""

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Begin; what the broker has taken is told to `on_committed` within a later `read`."""

    def commit_now(self, positions: Mapping[Partition, Position]) -> None:
        """Wait for the broker, which has just spoken: for partitions that are being taken away."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """Fetch nothing from these until `resume`."""

    def resume(self, partitions: Collection[Partition]) -> None: ...


class Retries:
    """Call `step` in a loop and `leave` at the end, from one thread.

    The source calls `on_assigned`, `on_revoked` and `on_committed` inside `read`. `clock` is monotonic, `now` is
    seconds since 1970.
    """

    def __init__(
        self,
        source: RetrySource,
        publish: Publish,
        clock: Callable[[], float],
        now: Callable[[], float],
        bounds: ShelfBounds | None = None,
    ) -> None:
        self._source = source
        self._publish = publish
        self._clock = clock
        self._now = now
        self._bounds = bounds or ShelfBounds()
        self._shelves: dict[Partition, RetryShelf] = {}
        self._paused: set[Partition] = set()
        self._commit_at = 0.0
        self._rest_until = 0.0
        self._failures = 0
        self.stepped_at = clock()

    @property
    def waiting(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    def step(self) -> None:
        """Read what there is, send what is due, commit now and then."""
        self.stepped_at = self._clock()
        self._take(self._source.read(_READ_RECORDS, self._seconds_to_wait()))
        if self._clock() >= self._rest_until:
            self._send_due()
        if self._clock() >= self._commit_at:
            self._source.commit(self._positions(self._shelves))
            self._commit_at = self._clock() + _COMMIT_SECONDS
        self._steer()
        self._measure()

    def leave(self) -> bool:
        """Send what is due, once, and commit. Whether the broker took it all in time; the rest is read again."""
        sent = self._send_due()
        self._source.commit(self._positions(self._shelves))
        deadline = self._clock() + _LEAVE_SECONDS
        while (left := self._positions(self._shelves)) and self._clock() < deadline:
            self._source.read(1, _LEAVE_READ_SECONDS)  # what it brings stays uncommitted, and is read again
        self._shelves.clear()
        return sent and not left

    def on_assigned(self, partitions: Mapping[Partition, Collection[int]]) -> None:
        """These are ours now; with each, the offsets that are done beyond where reading begins."""
        for partition, finished_ahead in partitions.items():
            self._shelves[partition] = RetryShelf(self._bounds, finished_ahead)

    def on_revoked(self, partitions: Collection[Partition], *, lost: bool = False) -> None:
        """Commit what was sent while that is still allowed, then forget the rest. `lost`: another has it already."""
        if not lost:
            self._source.commit_now(self._positions(partitions))
        for partition in partitions:
            self._shelves.pop(partition, None)
            self._paused.discard(partition)

    def on_committed(self, positions: Mapping[Partition, Position]) -> None:
        """The broker has these."""
        for partition, position in positions.items():
            if partition in self._shelves:
                self._shelves[partition].committed(position)

    def _take(self, records: Sequence[Record]) -> None:
        now = self._now()
        for record in records:
            shelf = self._shelves.get(Partition(record.topic, record.partition))
            if shelf is not None:  # None: it left within the read that brought this
                due_at = due_at_of(record)
                shelf.put(record, now if due_at is None else due_at.timestamp())

    def _send_due(self) -> bool:
        due = [
            (shelf, waiting)
            for shelf in self._shelves.values()
            for waiting in shelf.take_due(self._now(), _SEND_RECORDS)
        ]
        if not due:
            return True
        returning = [self._returned(waiting.record) for _, waiting in due]
        confirmed = self._publish([outgoing for outgoing, _ in returning])
        for (shelf, waiting), (_, reason), is_there in zip(due, returning, confirmed, strict=True):
            if is_there:
                shelf.finish(waiting.offset)
                metrics.RETRIES_RETURNED.labels(reason).inc()
            else:
                shelf.put_back(waiting)
        self._rest(sum(not is_there for is_there in confirmed))
        return all(confirmed)

    def _returned(self, record: Record) -> tuple[OutgoingRecord, str]:
        """Where the record goes now, and what it is counted under."""
        try:
            return back_to_request_topic(record), reason_label(record.header(ERROR_TYPE))
        except DecodeError as error:
            log.warning("dead_letter", reason=error.reason, rule=error.message, offset=record.offset)
            metrics.DEAD_LETTERS.labels(error.reason).inc()
            return dead_letter_of(record, error, datetime.fromtimestamp(self._now(), UTC)), "dead_letter"

    def _rest(self, refused: int) -> None:
        if not refused:
            self._failures = 0
            return
        log.warning("the broker did not confirm", records=refused)
        self._rest_until = self._clock() + min(_LONGEST_REST_SECONDS, _SHORTEST_REST_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 8)

    def _positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        shelves = ((partition, self._shelves.get(partition)) for partition in partitions)
        return {
            partition: position
            for partition, shelf in shelves
            if shelf is not None and (position := shelf.to_commit()) is not None
        }

    def _steer(self) -> None:
        full = {partition for partition, shelf in self._shelves.items() if shelf.is_full}
        if to_pause := full - self._paused:
            self._source.pause(to_pause)
        if to_resume := self._paused - full:
            self._source.resume(to_resume)
        self._paused = full

    def _next_due(self) -> float | None:
        return min((shelf.next_due for shelf in self._shelves.values() if shelf.next_due is not None), default=None)

    def _seconds_to_wait(self) -> float:
        next_due = self._next_due()
        if next_due is None:
            return _READ_SECONDS
        until_rested = self._rest_until - self._clock()
        return min(_READ_SECONDS, max(0.0, next_due - self._now(), until_rested))

    def _measure(self) -> None:
        next_due = self._next_due()
        seconds_left = 0.0 if next_due is None else next_due - self._now()
        metrics.RETRIES_WAITING.set(self.waiting)
        metrics.RETRIES_NEXT_DUE.set(max(0.0, seconds_left))
        metrics.RETRIES_OVERDUE.set(max(0.0, -seconds_left))


_STATUS: Final = re.compile(r"http_[1-5]\d\d")
_REASONS: Final = frozenset(
    {
        "api_error",
        "cmek_context_unavailable",
        "cmek_key_unreachable",
        "connection_failed",
        "connection_lost",
        "deadline_exceeded",
        "outcome_unknown",
        "overloaded_error",
        "rate_limit_error",
        "timeout",
        "timeout_error",
        "unreadable_answer",
    }
)


def reason_label(error_type: str | None) -> str:
    """A metric's label is of a closed set; a header may hold anything."""
    known = error_type is not None and (error_type in _REASONS or _STATUS.fullmatch(error_type))
    return error_type if known and error_type else "other"
