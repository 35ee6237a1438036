"""Results for downstream consumers: an iterator over `llm.results`, from now, from the start, or from a time."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self, cast
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from producers.kafka_access import explained, require_access
from producers.kafka_connection import KafkaAddress, client_options
from schemas.codec import decode_result
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.result import PromptResult
from schemas.topics import RESULTS
from streams.kafka_messages import leave_group
from streams.subscribe_start import Start, partitions_of, start_positions

_SHORT_WAIT_SECONDS: Final = 0.25
_BATCH_RECORDS: Final = 200
_NEW_PARTITIONS_SECONDS: Final = 30.0

_log = logging.getLogger("headrace.subscribe")


class ResultSubscriber:
    """Yields results at least once. When the constructor has returned, nothing published after it is missed.

    With `group`, subscribers of one name share the results, and a new one goes on where the last left off: a result
    counts as taken when the next one is asked for. Without it, every subscriber sees everything from `start` on.
    `tenant` is a filter for convenience: whoever may read the topic may read every tenant's results.
    Raises KafkaRefusedError, TopicMissingError.
    """

    def __init__(
        self,
        kafka: KafkaAddress,
        *,
        start: Start = "now",
        tenant: str | None = None,
        group: str | None = None,
        **options: Any,
    ) -> None:
        require_access(kafka, [RESULTS])
        self._tenant = tenant
        self._group = group
        self._consumer = Consumer(_consumer_config(kafka, group, options))
        self._fetched: deque[Message] = deque()
        self._taken: Message | None = None
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._looked_for_partitions = time.monotonic()
        self.skipped = 0
        """Records on the topic that are no result; each is logged by its place."""
        try:
            self._take_position(start)
        except BaseException:
            leave_group(self._consumer)
            raise

    def poll(self, timeout_seconds: float = 0.0) -> PromptResult | None:
        """The next result, or None when none came in time or the subscriber is closed."""
        deadline = time.monotonic() + timeout_seconds
        with self._reading:
            while not self._closed.is_set():
                message = self._next_message(max(0.0, deadline - time.monotonic()))
                if message is not None and (result := self._result_of(message)) is not None:
                    return result
                if message is None and time.monotonic() >= deadline:
                    return None
        return None

    def results(self, timeout_seconds: float | None = None) -> Iterator[PromptResult]:
        """Results until `close`, or until none has come for `timeout_seconds`."""
        while not self._closed.is_set():
            result = self.poll(_SHORT_WAIT_SECONDS if timeout_seconds is None else timeout_seconds)
            if result is not None:
                yield result
            elif timeout_seconds is not None:
                return

    def __iter__(self) -> Iterator[PromptResult]:
        return self.results()

    def close(self) -> None:
        """End the iteration, in whichever thread it is, and leave the group. Safe to repeat."""
        if not self._closed.is_set():
            self._closed.set()
            with self._reading:
                leave_group(self._consumer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_position(self, start: Start) -> None:
        partitions = partitions_of(self._consumer, RESULTS)
        if self._group is None:
            self._consumer.assign(start_positions(self._consumer, partitions, start))
            return
        # "Now" is when this was built, not when the group has met: written down before joining.
        committed = self._consumer.committed(partitions, timeout=10)
        if new := [partition for partition in committed if partition.offset < 0]:
            self._commit_first(start_positions(self._consumer, new, start))
        self._consumer.subscribe([RESULTS])

    def _commit_first(self, positions: list[TopicPartition]) -> None:
        try:
            self._consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _GROUP_IS_ACTIVE:  # then its members have positions of their own
                raise

    def _next_message(self, timeout_seconds: float) -> Message | None:
        self._release_taken()
        if not self._fetched:
            self._fetch(timeout_seconds)
        return self._fetched.popleft() if self._fetched else None

    def _fetch(self, timeout_seconds: float) -> None:
        self._look_for_partitions()
        # `consume` waits for a full batch; so wait for one record, then take what else is there.
        first = self._consumer.poll(min(timeout_seconds, _SHORT_WAIT_SECONDS))
        if first is None:
            return
        for message in (first, *self._consumer.consume(_BATCH_RECORDS, 0)):
            error = message.error()
            if error is None:
                self._fetched.append(message)
            elif error.fatal() or not error.retriable():
                _log.warning("the results topic cannot be read for now: %s", explained(error))

    def _look_for_partitions(self) -> None:
        # A group is told of added partitions; explicit assignment has to look.
        if self._group is not None or time.monotonic() - self._looked_for_partitions < _NEW_PARTITIONS_SECONDS:
            return
        self._looked_for_partitions = time.monotonic()
        known = {partition.partition for partition in self._consumer.assignment()}
        try:
            found = partitions_of(self._consumer, RESULTS)
        except KafkaException:
            return  # the broker is away: reading goes on when it is back
        if added := [partition for partition in found if partition.partition not in known]:
            self._consumer.incremental_assign(start_positions(self._consumer, added, "earliest"))

    def _release_taken(self) -> None:
        taken, self._taken = self._taken, None
        if taken is None or self._group is None:
            return
        try:
            self._consumer.store_offsets(message=taken)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - its partition went to another member
                raise

    def _result_of(self, message: Message) -> PromptResult | None:
        self._taken = message
        record = _record_of(message)
        if self._tenant is not None and (record.header("ce_subject") or self._tenant) != self._tenant:
            return None
        try:
            result = decode_result(record)
        except DecodeError as error:
            self.skipped += 1
            _log.warning("no result at %s/%s/%s: %s", record.topic, record.partition, record.offset, error.reason)
            return None
        return result if self._tenant in {None, result.tenant} else None


_GROUP_IS_ACTIVE: Final = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)


def _consumer_config(kafka: KafkaAddress, group: str | None, options: dict[str, Any]) -> dict[str, Any]:
    return {
        **client_options(kafka),
        "client.id": "headrace-subscriber",
        "group.id": group or f"headrace-subscriber-{uuid4()}",
        "enable.auto.commit": group is not None,
        "auto.commit.interval.ms": 1000,
        "enable.auto.offset.store": False,
        # Only for partitions added later and positions that retention has passed: miss nothing that is left.
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        "logger": logging.getLogger("headrace.kafka"),
        **options,
    }


def _record_of(message: Message) -> Record:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    _, timestamp_ms = message.timestamp()
    return Record(
        topic=message.topic() or RESULTS,
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=None,
        value=message.value(),
        headers=tuple((name, value or b"") for name, value in headers),
        timestamp_ms=timestamp_ms,
    )
