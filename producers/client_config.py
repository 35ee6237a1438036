"""How every producer of ours talks to Kafka: confirmed, in order, without duplicates of its own."""

import logging
from typing import Any, Final

from producers.kafka_connection import KafkaAddress, client_options

# Dead letters are the largest records there are, and their topic's bound is the broker's to hold.
_LARGEST_RECORD_BYTES: Final = 8 * 1024 * 1024


def producer_config(kafka: KafkaAddress, delivery_timeout_seconds: float, options: dict[str, Any]) -> dict[str, Any]:
    """Configuration of a confluent-kafka Producer; `options` are librdkafka's own names and come last."""
    return {
        **client_options(kafka),
        "client.id": "headrace",
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 5,
        # As Java and aiokafka do it: whoever publishes, identical requests meet on one partition.
        "partitioner": "murmur2_random",
        "message.max.bytes": _LARGEST_RECORD_BYTES,
        "message.timeout.ms": int(delivery_timeout_seconds * 1000),
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 128 * 1024,
        "logger": logging.getLogger("headrace.kafka"),
        **options,
    }
