"""`KafkaSource`: a RecordSource on confluent-kafka. Rebalances are cooperative: what stays is read on meanwhile."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.kafka_access import explained
from producers.kafka_connection import KafkaAddress, client_options
from schemas.record import Record
from streams.kafka_messages import MessageReader, leave_group
from streams.logs import logger_named
from streams.sinks.batching import Partition
from streams.sinks.commits import Commits

log = logger_named("sink")


class OnRevoked(Protocol):
    def __call__(self, partitions: Collection[Partition], *, lost: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Which topics are read, and as whom."""

    connection: KafkaAddress
    group: str
    topics: tuple[str, ...]
    session_timeout_seconds: float = 45
    member: str | None = None
    """Static membership id; a restart under the same one causes no rebalance."""


class KafkaSource:
    """Reads until `close`. The last records of a partition are handed to `on_revoked` before it is given away."""

    def __init__(self, settings: GroupSettings) -> None:
        self._consumer = Consumer(_configuration(settings) | {"on_commit": self._committed})
        self._topics = list(settings.topics)
        self._reader = MessageReader(log)
        self._commits = Commits()
        self._leaving = False

    def subscribe(self, on_revoked: OnRevoked) -> None:
        def revoked(_: Any, partitions: list[TopicPartition]) -> None:
            self._leaving = True  # the last chance to commit: this once it is waited for
            try:
                on_revoked(_places(partitions))
            finally:
                self._leaving = False
            self._commits.forget(_places(partitions))

        def lost(_: Any, partitions: list[TopicPartition]) -> None:
            on_revoked(_places(partitions), lost=True)
            self._commits.forget(_places(partitions))

        self._consumer.subscribe(self._topics, on_revoke=revoked, on_lost=lost)

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        """See RecordSource. Raises KafkaException where the client cannot go on."""
        self._send_commit()
        return self._reader.records_of(self._consumer.consume(at_most, timeout_seconds))

    def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """See RecordSource. Not waited for: with the broker away that would be without end, and membership would die.

        What the broker has not confirmed is sent again with the next read.
        """
        self._commits.add(next_offsets)
        return self._commit_now() if self._leaving else self._send_commit()

    def pause(self) -> None:
        """See RecordSource."""
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """See RecordSource."""
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Commit what is not confirmed and leave the group, so that others take over at once."""
        if self._commits.unconfirmed:
            self._commit_now()
        leave_group(self._consumer)

    def _send_commit(self) -> bool:
        if offsets := self._commits.to_send():
            self._consumer.commit(offsets=_offsets(offsets), asynchronous=True)
        return True

    def _commit_now(self) -> bool:
        try:
            taken = self._consumer.commit(offsets=_offsets(self._commits.unconfirmed), asynchronous=False) or []
        except KafkaException as error:
            log.warning("commit failed", error=explained(error.args[0]))
            return False
        self._commits.confirm(_taken(taken))
        return all(each.error is None for each in taken)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commits.answered(_taken(partitions) if error is None else {})
        if error is not None:
            self._reader.tell(error)


def _offsets(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items()]


def _places(partitions: Sequence[TopicPartition]) -> list[Partition]:
    return [(each.topic, each.partition) for each in partitions]


def _taken(partitions: Sequence[TopicPartition]) -> dict[Partition, int]:
    return {(each.topic, each.partition): each.offset for each in partitions if each.error is None}


def _configuration(settings: GroupSettings) -> dict[str, Any]:
    member = {"group.instance.id": settings.member} if settings.member else {}
    return {
        **client_options(settings.connection),
        "group.id": settings.group,
        "client.id": settings.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(settings.session_timeout_seconds * 1000),
        # What waits in this process beyond the batch: enough to read on while a batch is written.
        "queued.max.messages.kbytes": 32 * 1024,
        # Once that is full; the client's own second of rest is longer than a sink takes to write all of it.
        "fetch.queue.backoff.ms": 20,
        **member,
    }
