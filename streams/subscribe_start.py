"""Where a subscriber begins: `now`, `earliest` or a time, as exact offsets."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

Start = Literal["now", "earliest"] | datetime
"""A time is the first record the broker stamped at or after it; a time without a zone is refused."""

Answer = TypeVar("Answer")
GivenUp = Callable[[], bool]
"""Whether nobody wants the answer any more."""

_ANSWER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.1
_UNANSWERED: Final = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT)  # noqa: SLF001
# Special timestamps of Kafka's ListOffsets request.
_LATEST: Final = -1
_EARLIEST: Final = -2


class TopicMissingError(RuntimeError):
    """The topic is not on this cluster; the message names it and what to run."""


def _never() -> bool:
    return False


def partitions_of(consumer: Consumer, topic: str, given_up: GivenUp = _never) -> list[TopicPartition]:
    """All partitions of the topic, without positions. Raises TopicMissingError, KafkaException."""
    found = _answer_to(lambda timeout: consumer.list_topics(topic, timeout=timeout), given_up).topics[topic]
    if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise KafkaException(found.error)
    if found.error is not None or not found.partitions:
        raise TopicMissingError(f"there is no topic {topic} on this cluster; run `headrace topics apply`")
    return [TopicPartition(topic, number) for number in sorted(found.partitions)]


def start_positions(
    consumer: Consumer, partitions: list[TopicPartition], start: Start, given_up: GivenUp = _never
) -> list[TopicPartition]:
    """The partitions with the offset each is read from. Raises KafkaException."""
    found = _offsets_at(consumer, partitions, _timestamp_of(start), given_up)
    # A time later than the last record answers "the end", which would move until it is read: fix it here.
    if behind := [position for position in found if position.offset < 0]:
        settled = {position.partition: position for position in _offsets_at(consumer, behind, _LATEST, given_up)}
        found = [settled.get(position.partition, position) for position in found]
    return found


def _timestamp_of(start: Start) -> int:
    if start == "now":
        return _LATEST
    if start == "earliest":
        return _EARLIEST
    if start.tzinfo is None:
        raise ValueError("`start` needs a time zone: datetime.now(UTC), for example")
    return int(start.timestamp() * 1000)


def _offsets_at(
    consumer: Consumer, partitions: list[TopicPartition], timestamp: int, given_up: GivenUp
) -> list[TopicPartition]:
    asked = [TopicPartition(partition.topic, partition.partition, timestamp) for partition in partitions]
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        found = _answer_to(lambda timeout: consumer.offsets_for_times(asked, timeout=timeout), given_up)
        refused = [position.error for position in found if position.error is not None]
        if not refused:
            return found
        if given_up() or time.monotonic() >= deadline:
            raise KafkaException(refused[0])
        time.sleep(_AGAIN_SECONDS)  # a partition without its leader, just now


def _answer_to(ask: Callable[[float], Answer], given_up: GivenUp) -> Answer:
    """Asked again and again: one long call could not be given up, and would outlive the process that waits for it."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            return ask(_LOOK_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in _UNANSWERED or given_up() or time.monotonic() >= deadline:
                raise
        time.sleep(_AGAIN_SECONDS)
