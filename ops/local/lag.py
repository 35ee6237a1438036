"""How many records of each topic wait for a consumer group of ours."""

from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any, Final

from schemas.topics import BULK_REQUESTS, REQUESTS, RESULTS, RETRY

# The slowest group of a topic counts.
GROUPS_OF_TOPIC: Final[Mapping[str, tuple[str, ...]]] = {
    REQUESTS: ("headrace-worker-interactive",),
    BULK_REQUESTS: ("headrace-worker-bulk",),
    RESULTS: ("headrace-sink-clickhouse", "headrace-sink-postgres"),
    RETRY: ("headrace-retries",),
}

Partition = tuple[str, int]


def waiting(ends: Mapping[Partition, int], begins: Mapping[Partition, int], committed: Mapping[Partition, int]) -> int:
    """Records between what a group has committed and the end; without a commit it starts at the beginning."""
    behind = 0
    for partition, end in ends.items():
        position = committed.get(partition, -1)
        behind += max(0, end - max(position, begins.get(partition, 0)))
    return behind


def lag_per_topic(bootstrap: str, within_seconds: float = 5.0) -> dict[str, int]:
    """The lag of every topic that exists. Raises `confluent_kafka.KafkaException` when the broker does not answer."""
    from confluent_kafka.admin import AdminClient

    # Kept until every answer is in: the client crashes when it goes while one is on its way.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    listed = admin.list_topics(timeout=within_seconds).topics
    partitions = {topic: sorted(listed[topic].partitions) for topic in GROUPS_OF_TOPIC if topic in listed}
    asked = (
        _ask_offsets(admin, partitions, within_seconds, latest=True),
        _ask_offsets(admin, partitions, within_seconds, latest=False),
        _ask_commits(admin, within_seconds),
    )
    wait([answer for answers in asked for answer in answers.values()])
    ends, begins = ({place: answer.result().offset for place, answer in each.items()} for each in asked[:2])
    committed = {group: _positions(answer) for group, answer in asked[2].items()}
    return {
        topic: max(waiting(_of(ends, topic), begins, committed[group]) for group in GROUPS_OF_TOPIC[topic])
        for topic in partitions
    }


def _of(offsets: Mapping[Partition, int], topic: str) -> dict[Partition, int]:
    return {partition: offset for partition, offset in offsets.items() if partition[0] == topic}


def _ask_offsets(
    admin: Any, partitions: Mapping[str, list[int]], within_seconds: float, *, latest: bool
) -> dict[Partition, "Future[Any]"]:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    wanted = OffsetSpec.latest() if latest else OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, number): wanted for topic, numbers in partitions.items() for number in numbers}
    answers = admin.list_offsets(asked, request_timeout=within_seconds) if asked else {}
    return {(place.topic, place.partition): answer for place, answer in answers.items()}


def _ask_commits(admin: Any, within_seconds: float) -> dict[str, "Future[Any]"]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    return {
        group: admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=within_seconds)[
            group
        ]
        for groups in GROUPS_OF_TOPIC.values()
        for group in groups
    }


def _positions(answer: "Future[Any]") -> dict[Partition, int]:
    return {(place.topic, place.partition): place.offset for place in answer.result().topic_partitions or ()}
