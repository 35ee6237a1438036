"""How many records of each topic wait for a consumer group of ours."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final

from producers.kafka_connection import KafkaAddress, client_options
from schemas.topics import BULK_REQUESTS, REQUESTS, RESULTS, RETRY

# The slowest group of a topic counts.
GROUPS_OF_TOPIC: Final[Mapping[str, tuple[str, ...]]] = {
    REQUESTS: ("headrace-worker-interactive",),
    BULK_REQUESTS: ("headrace-worker-bulk",),
    RESULTS: ("headrace-sink-clickhouse", "headrace-sink-postgres"),
    RETRY: ("headrace-retries",),
}

# A broker that has just come up makes its offsets topic at the first question.
_COMMITS_SECONDS = 8.0
_RETRY_SECONDS = 0.1

Partition = tuple[str, int]


def waiting(ends: Mapping[Partition, int], begins: Mapping[Partition, int], committed: Mapping[Partition, int]) -> int:
    """Records between what a group has committed and the end; without a commit it starts at the beginning."""
    behind = 0
    for partition, end in ends.items():
        position = committed.get(partition, -1)
        behind += max(0, end - max(position, begins.get(partition, 0)))
    return behind


def lag_per_topic(kafka: KafkaAddress, within_seconds: float = 5.0) -> dict[str, int]:
    """The lag of every topic that exists. Raises `confluent_kafka.KafkaException` when the broker does not answer."""
    from confluent_kafka import KafkaException

    deadline = time.monotonic() + within_seconds
    while True:
        try:
            return _lag_now(kafka, within_seconds)
        except KafkaException:
            # A topic just made has no leader for a moment; the client calls that an error for good.
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _lag_now(kafka: KafkaAddress, within_seconds: float) -> dict[str, int]:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({**client_options(kafka), "log_level": 0})
    listed = admin.list_topics(timeout=within_seconds).topics
    partitions = {topic: sorted(listed[topic].partitions) for topic in GROUPS_OF_TOPIC if topic in listed}
    ends = _offsets(admin, partitions, within_seconds, latest=True)
    begins = _offsets(admin, partitions, within_seconds, latest=False)
    pairs = [(topic, group) for topic in partitions for group in GROUPS_OF_TOPIC[topic]]
    with ThreadPoolExecutor(len(GROUPS_OF_TOPIC)) as pool:
        asked = [pool.submit(_committed, kafka, group, topic, partitions[topic]) for topic, group in pairs]
        behind = [
            (topic, waiting(_of(ends, topic), begins, answer.result()))
            for (topic, _), answer in zip(pairs, asked, strict=True)
        ]
    return {topic: max(lag for named, lag in behind if named == topic) for topic in partitions}


def _of(offsets: Mapping[Partition, int], topic: str) -> dict[Partition, int]:
    return {partition: offset for partition, offset in offsets.items() if partition[0] == topic}


def _offsets(
    admin: Any, partitions: Mapping[str, list[int]], within_seconds: float, *, latest: bool
) -> dict[Partition, int]:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    wanted = OffsetSpec.latest() if latest else OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, number): wanted for topic, numbers in partitions.items() for number in numbers}
    answers = admin.list_offsets(asked, request_timeout=within_seconds) if asked else {}
    wait(answers.values())
    return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}


def _committed(kafka: KafkaAddress, group: str, topic: str, numbers: list[int]) -> dict[Partition, int]:
    """The group's committed positions, read without joining it.

    Through a consumer: the admin client's own call ends the process with a segmentation fault while the broker
    still looks for the group's coordinator (confluentinc/librdkafka#5040).
    """
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**client_options(kafka), "group.id": group, "log_level": 0})
    try:
        places = consumer.committed([TopicPartition(topic, number) for number in numbers], timeout=_COMMITS_SECONDS)
    finally:
        consumer.close()
    return {(place.topic, place.partition): place.offset for place in places}
