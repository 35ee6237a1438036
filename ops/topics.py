"""Making a cluster's topics match `schemas.topics`: what differs, and what can be done about it without loss."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from producers.kafka_access import KafkaRefusedError, explained, require_access
from producers.kafka_connection import KafkaAddress, client_options
from schemas.topics import TOPICS, Topic

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
_READY_SECONDS: Final = 15.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of one topic that is not as declared; `have` is None where the topic is missing."""

    topic: str
    setting: str
    have: str | None
    want: str
    applicable: bool = True
    """Whether `apply_topics` changes it. Fewer partitions and another replication move data: done by hand."""


@dataclass(frozen=True, slots=True)
class AppliedTopics:
    """What was changed, and what still differs because changing it would move or drop data."""

    changed: list[Difference] = field(default_factory=list)
    remaining: list[Difference] = field(default_factory=list)


class ClusterUnreachableError(RuntimeError):
    """No broker answered, or it refused; the message says which and what to do."""


def diff_topics(kafka: KafkaAddress, replication: int = 1, topics: Sequence[Topic] = TOPICS) -> list[Difference]:
    """Every difference between the cluster and the declaration. Raises ClusterUnreachableError."""
    return answered(kafka, lambda admin: _differences(admin, topics, replication))


def apply_topics(kafka: KafkaAddress, replication: int = 1, topics: Sequence[Topic] = TOPICS) -> AppliedTopics:
    """Create, widen and configure; never delete, never narrow. Safe to repeat. Raises ClusterUnreachableError."""
    return answered(kafka, lambda admin: _apply(admin, topics, replication))


def _apply(admin: AdminClient, topics: Sequence[Topic], replication: int) -> AppliedTopics:
    differences = _differences(admin, topics, replication)
    changes = [difference for difference in differences if difference.applicable]
    remaining = [difference for difference in differences if not difference.applicable]
    by_name = {topic.name: topic for topic in topics}
    _create(admin, [by_name[change.topic] for change in changes if change.setting == "topic"], replication)
    _widen(admin, {change.topic: int(change.want) for change in changes if change.setting == "partitions"})
    _configure(admin, [change for change in changes if change.setting not in {"topic", "partitions"}])
    if any(change.setting in {"topic", "partitions"} for change in changes):
        _wait_until_led(admin, topics)
    return AppliedTopics(changes, remaining)


def _differences(admin: AdminClient, topics: Sequence[Topic], replication: int) -> list[Difference]:
    found = admin.list_topics(timeout=_CONNECT_SECONDS).topics
    there = [topic for topic in topics if topic.name in found]
    missing = [Difference(topic.name, "topic", None, "exists") for topic in topics if topic.name not in found]
    settings = _described(admin, there)
    return missing + [
        difference
        for topic in there
        for difference in (
            *_shape_differences(topic, found[topic.name], replication),
            *_setting_differences(topic, found[topic.name], settings[topic.name], replication),
        )
    ]


def _shape_differences(topic: Topic, found: Any, replication: int) -> Iterable[Difference]:
    partitions, copies = len(found.partitions), _copies(found)
    if partitions != topic.partitions:
        wider = partitions < topic.partitions
        yield Difference(topic.name, "partitions", str(partitions), str(topic.partitions), applicable=wider)
    if copies != replication:
        yield Difference(topic.name, "replication", str(copies), str(replication), applicable=False)


def _setting_differences(
    topic: Topic, found: Any, settings: Mapping[str, str], replication: int
) -> Iterable[Difference]:
    for setting, want in topic.config(replication).items():
        if settings.get(setting) != want:
            # More replicas in sync than there are replicas: every write would be refused.
            writable = setting != "min.insync.replicas" or int(want) <= _copies(found)
            yield Difference(topic.name, setting, settings.get(setting), want, applicable=writable)


def _copies(found: Any) -> int:
    return min((len(partition.replicas) for partition in found.partitions.values()), default=0)


def _described(admin: AdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    answers = admin.describe_configs(resources, request_timeout=_ANSWER_SECONDS)
    return {
        resource.name: {name: entry.value for name, entry in answer.result(_ANSWER_SECONDS).items()}
        for resource, answer in answers.items()
    }


def _create(admin: AdminClient, topics: Sequence[Topic], replication: int) -> None:
    if topics:
        new = [
            NewTopic(topic.name, topic.partitions, replication, config=topic.config(replication)) for topic in topics
        ]
        _await(admin.create_topics(new, request_timeout=_ANSWER_SECONDS), but=KafkaError.TOPIC_ALREADY_EXISTS)


def _widen(admin: AdminClient, partitions: Mapping[str, int]) -> None:
    if partitions:
        new = [NewPartitions(name, count) for name, count in partitions.items()]
        _await(admin.create_partitions(new, request_timeout=_ANSWER_SECONDS))


def _configure(admin: AdminClient, changes: Sequence[Difference]) -> None:
    entries: dict[str, list[ConfigEntry]] = {}
    for change in changes:
        entry = ConfigEntry(change.setting, change.want, incremental_operation=AlterConfigOpType.SET)
        entries.setdefault(change.topic, []).append(entry)
    if entries:
        resources = [
            ConfigResource(ResourceType.TOPIC, name, incremental_configs=settings) for name, settings in entries.items()
        ]
        _await(admin.incremental_alter_configs(resources, request_timeout=_ANSWER_SECONDS))


def _await(answers: Mapping[Any, Any], but: int | None = None) -> None:
    for answer in answers.values():
        try:
            answer.result(_ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != but:  # another apply was faster: as good
                raise


def _wait_until_led(admin: AdminClient, topics: Sequence[Topic]) -> None:
    # Metadata names a leader before that broker has taken the lead; whoever came now would be sent away. So ask it.
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic.name, number): latest for topic in topics for number in range(topic.partitions)}
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        admin.list_topics(timeout=_ANSWER_SECONDS)  # the client asks the leaders it knows; this is how it learns them
        answers = admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS).values()
        if all(answer.exception(_ANSWER_SECONDS) is None for answer in answers):
            return
        time.sleep(0.02)
    raise ClusterUnreachableError("the topics were created but have no leaders yet; run `headrace topics diff` again")


def answered(kafka: KafkaAddress, ask: Callable[[AdminClient], Answer]) -> Answer:
    """What `ask` learns from the cluster's administration. Raises ClusterUnreachableError."""
    config: dict[str, Any] = {**client_options(kafka), "logger": logging.getLogger("headrace.kafka")}
    try:
        require_access(kafka, within_seconds=_CONNECT_SECONDS)
        return ask(AdminClient(config))
    except KafkaRefusedError as error:
        raise ClusterUnreachableError(str(error)) from error
    except KafkaException as error:
        raise ClusterUnreachableError(
            f"Kafka at {kafka} answered: {explained(error.args[0])}. Is it up (`headrace status`), and are "
            "HEADRACE_KAFKA and HEADRACE_KAFKA_SECURITY_PROTOCOL right?"
        ) from error
