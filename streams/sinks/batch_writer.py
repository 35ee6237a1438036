"""Writing one batch, in a thread of its own: every row that can be written, each other one set aside."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from schemas.dead_letter import dead_letter_of
from schemas.record import OutgoingRecord
from streams import metrics
from streams.logs import logger_named
from streams.sinks.batching import OpenBatch
from streams.sinks.port import BadRow, Batch, ResultStore, StoreUnavailable
from streams.sinks.reading import Refused, refused_by_store

log = logger_named("sink")

DeadLetters = Callable[[Sequence[OutgoingRecord]], None]
"""Returns when the broker has confirmed all of them; raises StoreUnavailable."""


class BatchWriter:
    """At most one write at a time: `start`, then `result`. The batch must rest meanwhile."""

    def __init__(self, name: str, store: ResultStore, dead_letters: DeadLetters) -> None:
        self._name = name
        self._store = store
        self._dead_letters = dead_letters
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-writer")
        self._under_way: Future[None] | None = None

    def start(self, batch: OpenBatch) -> None:
        self._under_way = self._thread.submit(self._write_all, batch)

    def is_done(self) -> bool:
        return self._under_way is None or self._under_way.done()

    def result(self) -> None:
        """Wait for the end. Raises StoreUnavailable; then some of it may be written, and all of it must be again."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def _write_all(self, batch: OpenBatch) -> None:
        try:
            with metrics.SINK_BATCH_SECONDS.labels(self._name).time():
                bad = self._write(batch.batch)
            self._set_aside([*batch.refused, *bad])
        except StoreUnavailable:
            raise
        except Exception as error:
            # What nobody foresaw must not end the sink: nothing is committed, so waiting and trying again is safe.
            log.exception("write failed", store=self._name)
            raise StoreUnavailable(self._name, type(error).__name__) from error
        metrics.SINK_ROWS.labels(self._name).inc(len(batch.batch) - len(bad))

    def _write(self, batch: Batch) -> list[Refused]:
        """Rows that cannot be written are returned; a batch that holds one is halved until it stands alone."""
        if len(batch) == 0:
            return []
        try:
            self._store.write(batch)
        except BadRow as error:
            if len(batch) == 1:
                return [(record, refused_by_store(error)) for record in batch.records]
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
