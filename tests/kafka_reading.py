"""Reading a topic in a test: from remembered offsets to where it ends now."""

import time

from confluent_kafka import Consumer, TopicPartition

from schemas.record import OutgoingRecord


def _consumer(bootstrap: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "test-reading", "enable.auto.commit": False})


def end_offsets(bootstrap: str, topic: str) -> list[TopicPartition]:
    """Where each partition of the topic ends now."""
    consumer = _consumer(bootstrap)
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        return [
            TopicPartition(topic, number, consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1])
            for number in partitions
        ]
    finally:
        consumer.close()


def read_from(bootstrap: str, positions: list[TopicPartition]) -> list[OutgoingRecord]:
    """Every record between `positions` and the end of now, in order within a partition."""
    ends = end_offsets(bootstrap, positions[0].topic)
    left = sum(end.offset - start.offset for start, end in zip(positions, ends, strict=True))
    consumer = _consumer(bootstrap)
    consumer.assign(positions)
    records: list[OutgoingRecord] = []
    deadline = time.monotonic() + 15
    try:
        while len(records) < left and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                headers = tuple(message.headers() or ())
                records.append(OutgoingRecord(message.topic() or "", message.key(), message.value(), headers))  # type: ignore[arg-type]
    finally:
        consumer.close()
    return records
