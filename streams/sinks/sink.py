"""One sink: read, batch, write, then commit exactly what was written. Knows no Kafka library and no store's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from schemas.codec import decode_request, decode_result
from schemas.dead_letter import DecodeError, dead_letter_of
from schemas.record import OutgoingRecord, Record
from schemas.topics import RESULTS
from streams import metrics
from streams.logs import logger_named
from streams.sinks.batching import BatchPolicy, OpenBatch, Partition, Refused
from streams.sinks.port import BadRow, Batch, Item, ResultStore, StoreUnavailable

log = logger_named("sink")

READ_RECORDS: Final = 2_000
"""Records asked for at once: a larger batch is read in several goes, so that a stop is heard in between."""
_READ_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0


class RecordSource(Protocol):
    """The topics, read as a member of a group."""

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        """Up to so many records, fewer after the timeout. Membership lives by calling this, also while paused."""

    def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """Whether the broker has taken them."""

    def pause(self) -> None:
        """Fetch nothing from what is assigned now. Safe to repeat."""

    def resume(self) -> None: ...


DeadLetters = Callable[[Sequence[OutgoingRecord]], None]
"""Returns when the broker has confirmed all of them; raises StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class SinkIdentity:
    """What a sink is called and when it writes."""

    store: str
    policy: BatchPolicy = field(default_factory=BatchPolicy)


class Sink:
    """Call `step` in a loop and `leave` at the end. One thread; the source calls `on_revoked` inside `read`."""

    def __init__(
        self,
        identity: SinkIdentity,
        source: RecordSource,
        store: ResultStore,
        dead_letters: DeadLetters,
        clock: Callable[[], float],
    ) -> None:
        self._name = identity.store
        self._source = source
        self._store = store
        self._dead_letters = dead_letters
        self._clock = clock
        self._open = OpenBatch(identity.policy)
        self._failures = 0
        self._retry_at = 0.0
        self.stepped_at = clock()

    @property
    def is_paused(self) -> bool:
        """Whether the store is down and waited for."""
        return self._failures > 0

    def step(self) -> None:
        """Read once and write what is due; at most about one read's timeout plus one write."""
        now = self.stepped_at = self._clock()
        if self.is_paused:
            # Partitions that were assigned meanwhile are not paused yet.
            self._source.pause()
            self._take(self._source.read(1, min(_READ_SECONDS, max(0.0, self._retry_at - now))))
            if self._clock() >= self._retry_at:
                self._flush()
            return
        self._take(
            self._source.read(min(READ_RECORDS, self._open.room), min(_READ_SECONDS, self._open.seconds_left(now)))
        )
        if self._open.is_due(self._clock()):
            self._flush()

    def leave(self) -> bool:
        """Write and commit what is held, trying once. Whether nothing is left; what is left is read again."""
        return self._flush()

    def on_revoked(self, partitions: Collection[Partition], *, lost: bool = False) -> None:
        """Write what is held while it may still be committed, then forget it. `lost`: another has it already."""
        if not lost and not self.is_paused:
            self._flush()
        self._open.forget(partitions)

    def _take(self, records: Sequence[Record]) -> None:
        now = self._clock()
        for record in records:
            self._open.take(record, read(record), now)

    def _flush(self) -> bool:
        offsets = self._open.next_offsets
        if not offsets:
            self._go_on()
            return True
        try:
            with metrics.SINK_BATCH_SECONDS.labels(self._name).time():
                bad = self._write(self._open.rows)
            self._set_aside([*self._open.refused, *bad])
        except StoreUnavailable as error:
            self._wait(error)
            return False
        metrics.SINK_ROWS.labels(self._name).inc(len(self._open.rows.items) - len(bad))
        self._open.written(self._clock())
        self._go_on()
        return self._commit(offsets)

    def _commit(self, offsets: Mapping[Partition, int]) -> bool:
        # An offset that is not committed now is committed with the next batch or read again.
        committed = self._source.commit(offsets)
        if committed:
            self._open.committed()
        else:
            log.warning("offsets not committed", store=self._name, partitions=len(offsets))
        return committed

    def _write(self, batch: Batch) -> list[Refused]:
        """Write all rows that can be written; the others are returned. A batch with a bad row is halved until found."""
        if not batch.items:
            return []
        try:
            self._store.write(batch)
        except BadRow as error:
            if len(batch.items) == 1:
                return [(batch.items[0].record, DecodeError("unreadable_record", str(error)))]
            first, second = batch.halves()
            return [*self._write(first), *self._write(second)]
        return []

    def _set_aside(self, refused: Sequence[Refused]) -> None:
        if not refused:
            return
        now = datetime.now(UTC)
        self._dead_letters([dead_letter_of(record, error, now) for record, error in refused])
        for record, error in refused:
            metrics.SINK_REFUSED.labels(self._name).inc()
            metrics.DEAD_LETTERS.labels(error.reason).inc()
            place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            log.error("record set aside", store=self._name, reason=error.reason, rule=error.message, **place)

    def _wait(self, error: StoreUnavailable) -> None:
        if not self.is_paused:
            log.warning("store unavailable", store=self._name, error=str(error))
        delay = min(_LONGEST_WAIT_SECONDS, error.retry_after_seconds * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = self._clock() + delay
        self._source.pause()
        metrics.SINK_PAUSED.labels(self._name).set(1)

    def _go_on(self) -> None:
        if not self.is_paused:
            return
        self._failures = 0
        self._source.resume()
        metrics.SINK_PAUSED.labels(self._name).set(0)
        log.info("store takes rows again", store=self._name)


def read(record: Record) -> Item | DecodeError | None:
    """The event in `record`. None: a request that cannot be read, which the worker sets aside and answers for."""
    if record.topic == RESULTS:
        try:
            return Item(record, decode_result(record))
        except DecodeError as error:
            return error
    try:
        return Item(record, decode_request(record))
    except DecodeError:
        return None
