"""`KafkaControlReader`: the control topic, handed to the event loop; it has no group, so each worker sees all of it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, TopicPartition

from producers.kafka_access import explained
from producers.kafka_connection import KafkaAddress, client_options
from schemas.codec import decode_cancel
from schemas.control import CancelRequest
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.topics import CONTROL
from streams.control.cancellations import LIFETIME
from streams.logs import logger_named
from streams.subscribe_start import TopicMissingError, partitions_of, start_positions

log = logger_named("control")

_POLL_SECONDS: Final = 0.25
_AGAIN_SECONDS: Final = 2.0
_READ_RECORDS: Final = 500
_CLOSE_SECONDS: Final = 1.0


class KafkaControlReader:
    """Reads in a thread of its own, from a day ago on, through any outage. `take` is called on the loop of `start`.

    A topic that is widened is seen whole after the worker's next start.
    """

    def __init__(self, kafka: KafkaAddress, take: Callable[[CancelRequest], None]) -> None:
        self._kafka = kafka
        self._take = take
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._caught_up = asyncio.Event()

    def start(self) -> None:
        """Begin; call it on the loop that `take` belongs to."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read_on, args=(loop,), name="control", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Whether everything that stood on the topic at the start has been taken."""
        return self._caught_up.is_set()

    async def await_ready(self, timeout_seconds: float) -> bool:
        """Whether it was ready in time. A broker that is down, or a missing topic, is waited for."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._caught_up.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the thread; one that waits for a broker that is down is left to end by itself. Safe to repeat."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    def _read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            consumer = Consumer(_configuration(self._kafka))
            try:
                self._follow(consumer, loop)
            except KafkaException as error:  # begun anew from a day ago: what is heard twice changes nothing
                log.warning("the control topic is read anew", error=explained(error.args[0]))
                self._stop.wait(_AGAIN_SECONDS)
            except RuntimeError:  # the loop was closed before us
                return
            finally:
                consumer.close()

    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        ends = self._begin(consumer)
        is_caught_up = False
        while not self._stop.is_set():
            self._hand_over(consumer, loop)
            if not is_caught_up and _is_reached(consumer, ends):
                is_caught_up = True
                loop.call_soon_threadsafe(self._caught_up.set)

    def _begin(self, consumer: Consumer) -> list[TopicPartition]:
        """Take position a day ago; where each partition ends now."""
        told = False
        while not self._stop.is_set():
            try:
                partitions = partitions_of(consumer, CONTROL)
                ends = start_positions(consumer, partitions, "now")
                consumer.assign(start_positions(consumer, partitions, datetime.now(UTC) - LIFETIME))
            except (KafkaException, TopicMissingError) as error:
                if not told:
                    log.warning("the control topic cannot be read yet", error=str(error))
                told = True
                self._stop.wait(_AGAIN_SECONDS)
            else:
                return ends
        return []

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
