"""`KafkaPast`: older results from the topic itself, for a few streams at a time, each read bounded."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.gateway.feed import FeedUnavailableError
from producers.kafka_connection import KafkaAddress
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent
from streams.feed.kafka_records import event_of, held_by, results_consumer
from streams.feed.past import Held, Piece
from streams.feed.positions import Position, at
from streams.subscribe_start import TopicMissingError, partitions_of

_READERS: Final = 2
_WAIT_SECONDS: Final = 10.0
_PIECE_SECONDS: Final = 5.0
_PIECE_EVENTS: Final = 1000
_PIECE_RECORDS: Final = 50_000
_READ_RECORDS: Final = 500
_POLL_SECONDS: Final = 0.2

Outcome = TypeVar("Outcome")


class KafkaPast:
    """Each piece is read by a consumer of its own, so that a slow stream holds none of the few for long."""

    def __init__(self, kafka: KafkaAddress, readers: int = _READERS) -> None:
        self._kafka = kafka
        self._turns = asyncio.Semaphore(readers)

    async def held(self) -> Held:
        """See Past."""
        return await self._in_turn(_held)

    async def read(self, tenant: str, position: Position, until: Position) -> Piece:
        """See Past."""
        return await self._in_turn(partial(_piece, tenant=tenant, position=position, until=until))

    async def _in_turn(self, ask: Callable[[Consumer], Outcome]) -> Outcome:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise FeedUnavailableError from None
        try:
            return await asyncio.to_thread(self._asked, ask)
        except (KafkaException, TopicMissingError):
            raise FeedUnavailableError from None
        finally:
            self._turns.release()

    def _asked(self, ask: Callable[[Consumer], Outcome]) -> Outcome:
        consumer = results_consumer(self._kafka, "feed-past", **{"enable.partition.eof": True})
        try:
            return ask(consumer)
        finally:
            consumer.close()


def _held(consumer: Consumer) -> Held:
    found = held_by(consumer, partitions_of(consumer, RESULTS))
    return Held(tuple(first for first, _ in found), tuple(end for _, end in found))


def _piece(consumer: Consumer, tenant: str, position: Position, until: Position) -> Piece:
    reached = [at(position, number) for number in range(max(len(position), len(until)))]
    left = {number for number, offset in enumerate(until) if reached[number] < offset}
    consumer.assign([TopicPartition(RESULTS, number, reached[number]) for number in left])
    events: list[ResultEvent] = []
    records, deadline = 0, time.monotonic() + _PIECE_SECONDS
    while left and len(events) < _PIECE_EVENTS and records < _PIECE_RECORDS and time.monotonic() < deadline:
        for message in consumer.consume(_READ_RECORDS, _POLL_SECONDS):
            number, offset = message.partition() or 0, message.offset() or 0
            if (error := message.error()) is not None:
                # The end of a partition: markers of transactions may fill it up to `until`.
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    left.discard(number)
                continue
            records += 1
            if number in left and offset < until[number]:
                reached[number] = offset + 1
                event = event_of(message)
                if event.tenant == tenant:
                    events.append(event)
            if offset >= until[number] - 1:
                left.discard(number)
    return Piece(events, tuple(reached) if left else until)
