"""`KafkaPublisher`: confirmed writes from asyncio on librdkafka's producer.

Delivery reports are taken on the event loop, by a short timer while something is under way. A polling thread was
measured and is slower: each report would have to win the interpreter lock from a busy loop.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from producers.client_config import producer_config
from producers.kafka_access import LastRefusal, explained
from producers.kafka_connection import KafkaAddress
from producers.publisher import PublisherClosedError, PublishError, Refusal
from schemas.framing import Frame
from schemas.record import OutgoingRecord

_REPORT_SECONDS: Final = 0.002
_ROOM_SECONDS: Final = 0.005
_CLOSE_SECONDS: Final = 5.0


class KafkaPublisher:
    """A Publisher on one connection; use it from one event loop.

    `frame` marks records for a schema registry; `options` are librdkafka's own names. Reports of delivery are taken
    every `report_seconds`: often where somebody waits for them, less where they only free what is done.
    """

    def __init__(
        self,
        kafka: KafkaAddress,
        *,
        delivery_timeout_seconds: float = 120.0,
        frame: Frame | None = None,
        report_seconds: float = _REPORT_SECONDS,
        **options: Any,
    ) -> None:
        self._frame = frame
        self._report_seconds = report_seconds
        self._delivery_timeout_seconds = delivery_timeout_seconds
        self._last_refusal = LastRefusal()
        options = {"error_cb": self._last_refusal, **options}
        self._producer = Producer(producer_config(kafka, delivery_timeout_seconds, options))
        self._under_way: set[asyncio.Future[None]] = set()
        self._reporting = False
        self._closed = False

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """See Publisher; gives up on a record after the delivery timeout."""
        if self._closed:
            raise PublisherClosedError
        if not records:
            return
        if self._frame is not None:
            records = [self._frame(record) for record in records]
        delivery = _Delivery(len(records), self._last_refusal.reason_of)
        self._under_way.add(delivery.done)
        try:
            await self._enqueue(records, delivery)
            await delivery.done
        finally:
            self._under_way.discard(delivery.done)
        if delivery.refused:
            refusals = [Refusal(records[index], reason) for index, reason in sorted(delivery.refused)]
            raise PublishError(refusals, len(records))

    async def close(self) -> None:
        """Wait for what is under way (it ends by the delivery timeout at the latest), then disconnect.

        What cancelled calls left and the broker does not take within 5 s is dropped.
        """
        if self._closed:
            return
        self._closed = True
        if self._under_way:
            await asyncio.wait(self._under_way)
        await asyncio.to_thread(self._disconnect)

    def _disconnect(self) -> None:
        self._producer.flush(_CLOSE_SECONDS)
        self._producer.purge()  # `close` would wait for it until the delivery timeout
        self._producer.close()

    async def _enqueue(self, records: Sequence[OutgoingRecord], delivery: "_Delivery") -> None:
        self._start_reporting()
        for index, record in enumerate(records):
            report = partial(delivery.report, index)
            try:
                if not self._offer(record, report) and not await self._offer_until_there_is_room(record, report):
                    delivery.refuse(index, "the producer's queue stayed full; the broker takes nothing")
            except KafkaException as error:
                delivery.refuse(index, explained(error.args[0]))

    def _offer(self, record: OutgoingRecord, report: "partial[None]") -> bool:
        try:
            self._producer.produce(
                record.topic, record.value, record.key, on_delivery=report, headers=list(record.headers)
            )
        except BufferError:
            return False
        return True

    async def _offer_until_there_is_room(self, record: OutgoingRecord, report: "partial[None]") -> bool:
        deadline = time.monotonic() + self._delivery_timeout_seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(_ROOM_SECONDS)
            if self._offer(record, report):
                return True
        return False

    def _start_reporting(self) -> None:
        if not self._reporting:
            self._reporting = True
            asyncio.get_running_loop().call_later(self._report_seconds, self._take_reports)

    def _take_reports(self) -> None:
        if self._closed and not self._under_way:
            return
        self._producer.poll(0)
        self._reporting = False
        if self._under_way or len(self._producer):  # a cancelled call leaves records that still need their report
            self._start_reporting()


class _Delivery:
    """One call's records counted down: one future for all of them, resolved by the last report."""

    __slots__ = ("_left", "_reason_of", "done", "refused")

    def __init__(self, records: int, reason_of: Callable[[KafkaError], str]) -> None:
        self._left = records
        self._reason_of = reason_of
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused: list[tuple[int, str]] = []

    def report(self, index: int, error: KafkaError | None, message: object) -> None:
        del message
        if error is not None:
            self.refused.append((index, self._reason_of(error)))
        self._left -= 1
        if not self._left and not self.done.done():  # a cancelled call no longer waits
            self.done.set_result(None)

    def refuse(self, index: int, reason: str) -> None:
        self.refused.append((index, reason))
        self.report(index, None, None)
