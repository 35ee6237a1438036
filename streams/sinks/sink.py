"""One sink: read, batch, write, then commit exactly what was written. Knows no Kafka library and no store's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.record import Record
from streams import metrics
from streams.logs import logger_named
from streams.sinks.batch_writer import BatchWriter, DeadLetters
from streams.sinks.batching import BatchPolicy, OpenBatch, Partition
from streams.sinks.port import ResultStore, StoreUnavailable
from streams.sinks.reading import read

log = logger_named("sink")

READ_RECORDS: Final = 500
"""Records asked for at once: a larger batch is read in several goes, so that a stop is heard in between."""
_READ_SECONDS: Final = 0.1
_READ_WHILE_WRITING_SECONDS: Final = 0.02
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


@dataclass(frozen=True, slots=True)
class SinkIdentity:
    """What a sink is called and when it writes."""

    store: str
    policy: BatchPolicy = field(default_factory=BatchPolicy)


class Sink:
    """Call `step` in a loop and `leave` at the end, from one thread; the source calls `on_revoked` inside `read`.

    While one batch is written, in a thread of its own, the next one is read and decoded.
    """

    def __init__(
        self,
        identity: SinkIdentity,
        source: RecordSource,
        store: ResultStore,
        dead_letters: DeadLetters,
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._source = source
        self._store = store
        self._writer = BatchWriter(identity.store, store, dead_letters)
        self._clock = clock
        self._open = OpenBatch(identity.policy)
        self._sealed: OpenBatch | None = None
        self._failures = 0
        self._retry_at = 0.0
        self.stepped_at = clock()

    @property
    def is_paused(self) -> bool:
        """Whether the store is down and waited for."""
        return self._failures > 0

    def step(self) -> None:
        """Read once and write what is due; takes about one read's timeout, or one write's where both batches wait."""
        now = self.stepped_at = self._clock()
        if self.is_paused:
            self._step_paused(now)
            return
        if self._open.room:
            timeout_seconds = min(_READ_SECONDS, self._open.seconds_left(now))
            if self._sealed is not None:
                timeout_seconds = min(timeout_seconds, _READ_WHILE_WRITING_SECONDS)
            self._take(self._source.read(min(READ_RECORDS, self._open.room), timeout_seconds))
        if self._sealed is not None and (self._writer.is_done() or not self._open.room):
            self._finish_write()
        if self._sealed is None and not self.is_paused and self._is_to_be_written():
            self._seal()

    def leave(self) -> bool:
        """Write and commit what is held, trying once. Whether nothing is left; what is left is read again."""
        return self._write_all()

    def on_revoked(self, partitions: Collection[Partition], *, lost: bool = False) -> None:
        """Write what is held while it may still be committed, then forget it. `lost`: another has it already."""
        if self._sealed is not None and not self.is_paused:
            self._finish_write()
        if not lost and not self.is_paused:
            self._write_all()
        for batch in (self._sealed, self._open):
            if batch is not None:
                batch.forget(partitions)

    def _step_paused(self, now: float) -> None:
        # Partitions that were assigned meanwhile are not paused yet.
        self._source.pause()
        self._take(self._source.read(1, min(_READ_SECONDS, max(0.0, self._retry_at - now))))
        if self._sealed is not None and self.is_paused and self._clock() >= self._retry_at:
            self._writer.start(self._sealed)
            self._finish_write()

    def _take(self, records: Sequence[Record]) -> None:
        self._open.take(records, read(records, self._store), self._clock())

    def _is_to_be_written(self) -> bool:
        return self._open.is_worth_a_write() or self._open.is_due(self._clock())

    def _seal(self) -> None:
        self._sealed, self._open = self._open, OpenBatch(self._identity.policy)
        self._writer.start(self._sealed)

    def _write_all(self) -> bool:
        """One try for both batches, in their order."""
        if self._sealed is not None:
            if self.is_paused:
                self._writer.start(self._sealed)
            if not self._finish_write():
                return False
        if self._open.next_offsets:
            self._seal()
            return self._finish_write()
        return True

    def _finish_write(self) -> bool:
        """Wait for the write under way. Written: commit. Not written: keep it, rest, try again later."""
        sealed = self._sealed
        if sealed is None:
            return True
        try:
            self._writer.result()
        except StoreUnavailable as error:
            self._rest(error)
            return False
        self._sealed = None
        self._go_on()
        return self._commit(sealed)

    def _commit(self, written: OpenBatch) -> bool:
        committed = self._source.commit(written.next_offsets)
        if not committed:
            # They go with the next batch, or the records are read again: writing them again changes nothing.
            log.warning("offsets not committed", store=self._identity.store, partitions=len(written.next_offsets))
            self._open.owe(written.next_offsets, self._clock())
        return committed

    def _rest(self, error: StoreUnavailable) -> None:
        if not self.is_paused:
            log.warning("store unavailable", store=self._identity.store, error=str(error))
        delay_seconds = min(_LONGEST_WAIT_SECONDS, error.retry_after_seconds * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = self._clock() + delay_seconds
        self._source.pause()
        metrics.SINK_PAUSED.labels(self._identity.store).set(1)

    def _go_on(self) -> None:
        if not self.is_paused:
            return
        self._failures = 0
        self._source.resume()
        metrics.SINK_PAUSED.labels(self._identity.store).set(0)
        log.info("store takes rows again", store=self._identity.store)
