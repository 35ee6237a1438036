"""The results topic over confluent-kafka as the feed reads it: by hand, without a group."""

import logging
from collections.abc import Iterable
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Consumer, Message, TopicPartition

from producers.kafka_connection import KafkaAddress, client_options
from schemas.record import Record
from schemas.topics import RESULTS
from streams.feed.events import ResultEvent

ANSWER_SECONDS: Final = 10.0


def results_consumer(kafka: KafkaAddress, role: str, **options: Any) -> Consumer:
    """A consumer that commits nothing; a position that retention has passed goes on at the first record left."""
    return Consumer(
        {
            **client_options(kafka),
            "client.id": f"headrace-{role}",
            "group.id": f"headrace-{role}-{uuid4()}",  # the client wants a name; nothing is committed under it
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "logger": logging.getLogger("headrace.kafka"),
            **options,
        }
    )


def held_by(consumer: Consumer, partitions: Iterable[TopicPartition]) -> list[tuple[int, int]]:
    """The first offset and the next one of each partition. Raises KafkaException."""
    return [consumer.get_watermark_offsets(each, timeout=ANSWER_SECONDS) for each in partitions]


def event_of(message: Message) -> ResultEvent:
    headers: Any = message.headers() or ()
    place = (message.topic() or RESULTS, message.partition() or 0, message.offset() or 0)
    return ResultEvent(Record(*place, None, message.value(), tuple(headers), message.timestamp()[1]))
