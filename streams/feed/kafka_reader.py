"""`KafkaResultsReader`: every partition of the results topic from now on, handed to the event loop in batches."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from producers.kafka_connection import KafkaAddress
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent
from streams.feed.kafka_records import event_of, held_by, results_consumer
from streams.kafka_follower import TopicFollower
from streams.subscribe_start import partitions_of, start_positions

_POLL_SECONDS: Final = 0.1
_READ_RECORDS: Final = 500
_NEW_PARTITIONS_SECONDS: Final = 10.0
_MOST_UNTAKEN: Final = 8
"""Batches the loop may be behind with; then the reader waits for it."""

OnBegin = Callable[[Sequence[int]], None]
OnEvents = Callable[[Sequence[ResultEvent]], None]


class KafkaResultsReader(TopicFollower):
    """Ready once nothing published afterwards is missed. `begin` and `take` are called on the loop of `start`.

    `begin` gets the next offset of each partition, at the start and again when partitions were added. After an outage
    it goes on where it was.
    """

    _name = "feed"

    def __init__(self, kafka: KafkaAddress, begin: OnBegin, take: OnEvents) -> None:
        super().__init__()
        self._kafka = kafka
        self._begin = begin
        self._take = take
        self._untaken = threading.Semaphore(_MOST_UNTAKEN)
        self._next: list[int] = []
        self._looked_at = 0.0

    def _consumer(self) -> Consumer:
        return results_consumer(self._kafka, "feed")

    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        self._next = self._positions(consumer)
        consumer.assign([TopicPartition(RESULTS, number, offset) for number, offset in enumerate(self._next)])
        self._following()
        loop.call_soon_threadsafe(self._begun, tuple(self._next))
        while not self._stop.is_set():
            self._look_for_partitions(consumer, loop)
            if events := self._read(consumer):
                while not self._untaken.acquire(timeout=_POLL_SECONDS):
                    if self._stop.is_set():
                        return
                loop.call_soon_threadsafe(self._hand_over, events)

    def _positions(self, consumer: Consumer) -> list[int]:
        """Where it was; at first the end of each partition."""
        partitions = partitions_of(consumer, RESULTS, self._stop.is_set)
        self._looked_at = time.monotonic()
        if not self._next:
            return [each.offset for each in start_positions(consumer, partitions, "now", self._stop.is_set)]
        added = held_by(consumer, partitions[len(self._next) :])
        return [*self._next, *(first for first, _ in added)]

    def _look_for_partitions(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        if time.monotonic() - self._looked_at < _NEW_PARTITIONS_SECONDS:
            return
        self._looked_at = time.monotonic()
        known = len(self._next)
        try:
            self._next = self._positions(consumer)
        except KafkaException:
            return  # the broker is away: reading goes on when it is back
        if added := self._next[known:]:
            new = [TopicPartition(RESULTS, known + number, offset) for number, offset in enumerate(added)]
            consumer.incremental_assign(new)
            loop.call_soon_threadsafe(self._begun, tuple(self._next))

    def _read(self, consumer: Consumer) -> list[ResultEvent]:
        # `consume` waits for a full batch; so wait for one record, then take what else is there.
        first = consumer.poll(_POLL_SECONDS)
        if first is None:
            return []
        events: list[ResultEvent] = []
        for message in (first, *consumer.consume(_READ_RECORDS, 0)):
            error = message.error()
            if error is None:
                events.append(event_of(message))
                self._next[events[-1].partition] = events[-1].offset + 1
            elif error.fatal():
                raise KafkaException(error)
        return events

    def _begun(self, starts: Sequence[int]) -> None:
        self._begin(starts)
        self._ready.set()

    def _hand_over(self, events: Sequence[ResultEvent]) -> None:
        try:
            self._take(events)
        finally:
            self._untaken.release()
