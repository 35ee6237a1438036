"""`BlockingPublisher`: confirmed writes for code without an event loop."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from producers.kafka_connection import KafkaAddress
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import PublishError
from schemas.framing import Frame
from schemas.record import OutgoingRecord

_DELIVERY_SECONDS: Final = 10.0

_log = logging.getLogger("headrace.publisher")


class BlockingPublisher:
    """A KafkaPublisher with a loop of its own; use it from one thread."""

    def __init__(
        self, kafka: KafkaAddress, delivery_timeout_seconds: float = _DELIVERY_SECONDS, frame: Frame | None = None
    ) -> None:
        self._publisher = KafkaPublisher(kafka, delivery_timeout_seconds=delivery_timeout_seconds, frame=frame)
        self._runner = asyncio.Runner()

    def publish(self, records: Sequence[OutgoingRecord]) -> list[bool]:
        """Which the broker confirmed, in their order; one that was not may still be there."""
        try:
            self._runner.run(self._publisher.publish(records))
        except PublishError as error:
            _log.warning("%s", error)
            refused = {id(refusal.record) for refusal in error.refusals}
            return [id(record) not in refused for record in records]
        return [True] * len(records)

    def close(self) -> None:
        """Wait for what is under way, then disconnect."""
        self._runner.run(self._publisher.close())
        self._runner.close()
