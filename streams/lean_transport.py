"""Faust's Kafka transport without its per-record cost: one message of Faust per poll, not per record.

The stock loop makes four tasks per record to wait for "delivered or suspended", and nothing is fetched meanwhile. Here
the whole of what one poll brought travels as one message, so that wait is a few turns of the loop. Overrides three
methods of the pinned consumer; a contract test holds their names and behaviour.
"""

import asyncio
from collections.abc import Mapping
from itertools import chain
from typing import Any

from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.logs import logger_named

log = logger_named("faust_worker")

_IDLE_SECONDS = 0.02


class LeanConsumer(Consumer):  # type: ignore[misc]
    """Delivers lists of aiokafka records, one list per poll; those of a partition are in their order."""

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001
                await self._deliver_next()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def _deliver_next(self) -> None:
        records, active = await self._wait_next_records(timeout=1.0)
        await asyncio.sleep(0)
        if self.should_stop:
            return
        if not self.flow_active:
            await self._seek_back()
            return
        polled = (records or {}).items()
        wanted = {part: self._fresh(part, batch) for part, batch in polled if self._is_wanted(part, active)}
        await self._deliver({part: fresh for part, fresh in wanted.items() if fresh})

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # noqa: BLE001 - the partitions have just left; the next assignment seeks again
            log.info("seek_not_possible", reason=type(error).__name__)

    def _is_wanted(self, partition: TP, active: set[TP] | None) -> bool:
        return active is None or partition in active or partition in self._buffered_partitions

    def _fresh(self, partition: TP, batch: list[Any]) -> list[Any]:
        read_up_to = self._read_offset[partition]
        return batch if read_up_to is None else [record for record in batch if record.offset >= read_up_to]

    async def _deliver(self, polled: Mapping[TP, list[Any]]) -> None:
        if not polled:
            return
        message = self._message_of(list(chain.from_iterable(polled.values())))
        await self.wait_first(self.callback(message), self.suspend_flow.wait())
        for partition, records in polled.items():
            self._read_offset[partition] = records[-1].offset

    def _message_of(self, records: list[Any]) -> ConsumerMessage:
        first = records[0]
        return ConsumerMessage(
            first.topic,
            first.partition,
            first.offset,
            first.timestamp / 1000.0,
            first.timestamp_type,
            (),
            None,
            records,
            None,
            tp=TP(first.topic, first.partition),
            generation_id=self.app.consumer_generation_id,
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """As the original, and to the beginning where nothing was committed.

        The original stays where it is there: what a rebalance had fetched and dropped would be passed over.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        inner = self._thread._ensure_consumer()  # noqa: SLF001
        for partition, offset in committed.items():
            if not offset:
                await self._thread.call_thread(inner.seek, partition, 0)
        return committed

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - the overridden signature
        """As the original, but where every partition waits for room, look again soon instead of in a second."""
        if self.flow_active and not self._get_active_partitions():
            await asyncio.sleep(_IDLE_SECONDS)
            return {}, set()
        return await super()._wait_next_records(timeout)


class LeanTransport(Transport):  # type: ignore[misc]
    """Stock transport with the lean consumer."""

    Consumer = LeanConsumer
