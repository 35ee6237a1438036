"""`KafkaControlReader`: the control topic, handed to the event loop; it has no group, so each worker sees all of it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from producers.kafka_connection import KafkaAddress, client_options
from schemas.codec import decode_cancel
from schemas.control import CancelRequest
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.topics import CONTROL
from streams.control.cancellations import LIFETIME
from streams.kafka_follower import TopicFollower
from streams.logs import logger_named
from streams.subscribe_start import partitions_of, start_positions

log = logger_named("control")

_POLL_SECONDS: Final = 0.25
_READ_RECORDS: Final = 500


class KafkaControlReader(TopicFollower):
    """Reads from a day ago on; ready once everything that stood on the topic at the start has been taken.

    `take` is called on the loop of `start`. After an outage it is begun anew from a day ago: what is heard twice
    changes nothing. A topic that is widened is seen whole after the worker's next start.
    """

    _name = "control"

    def __init__(self, kafka: KafkaAddress, take: Callable[[CancelRequest], None]) -> None:
        super().__init__()
        self._kafka = kafka
        self._take = take

    def _consumer(self) -> Consumer:
        return Consumer(_configuration(self._kafka))

    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        given_up = self._stop.is_set
        partitions = partitions_of(consumer, CONTROL, given_up)
        ends = start_positions(consumer, partitions, "now", given_up)
        consumer.assign(start_positions(consumer, partitions, datetime.now(UTC) - LIFETIME, given_up))
        self._following()
        is_caught_up = False
        while not self._stop.is_set():
            self._hand_over(consumer, loop)
            if not is_caught_up and _is_reached(consumer, ends):
                is_caught_up = True
                loop.call_soon_threadsafe(self._ready.set)

    def _hand_over(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        # `consume` waits for a full batch; so wait for one record, then take what else is there.
        first = consumer.poll(_POLL_SECONDS)
        if first is None:
            return
        for message in (first, *consumer.consume(_READ_RECORDS, 0)):
            if message.error() is None and (cancel := _cancel_in(message)) is not None:
                loop.call_soon_threadsafe(self._take, cancel)


def _is_reached(consumer: Consumer, ends: list[TopicPartition]) -> bool:
    """A position is known once a record was read; an empty partition, or one read from its end, has none to read."""
    positions = {each.partition: each.offset for each in consumer.position(ends)}
    starts = {each.partition: each.offset for each in consumer.assignment()}
    return all(max(positions[end.partition], starts.get(end.partition, 0)) >= end.offset for end in ends)


def _cancel_in(message: Any) -> CancelRequest | None:
    headers = tuple((name, value) for name, value in message.headers() or ())
    place = (message.topic(), message.partition(), message.offset())
    try:
        return decode_cancel(Record(*place, message.key(), message.value(), headers, message.timestamp()[1]))
    except DecodeError as error:
        if error.reason != "unknown_type":  # other events of the topic are not ours to judge
            log.warning("no cancellation", partition=place[1], offset=place[2], reason=error.reason)
        return None


def _configuration(kafka: KafkaAddress) -> dict[str, Any]:
    return {
        **client_options(kafka),
        "client.id": "headrace-control",
        "group.id": f"headrace-control-{uuid4()}",  # the client wants a name; nothing is committed under it
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "logger": logging.getLogger("headrace.kafka"),
    }
