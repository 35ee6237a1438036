"""`KafkaRetrySource`: a RetrySource on confluent-kafka; what is done beyond the offset is committed beside it."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.kafka_connection import KafkaAddress, client_options
from schemas.record import Record
from schemas.topics import RETRY
from streams.kafka_messages import MessageReader, leave_group
from streams.logs import logger_named
from streams.offsets import Partition
from streams.retries.finished_ahead import finished_in, note_of
from streams.retries.shelf import Position

log = logger_named("retries")

GROUP: Final = "headrace-retries"
_ANSWER_SECONDS: Final = 10.0

OnAssigned = Callable[[Mapping[Partition, Collection[int]]], None]
OnCommitted = Callable[[Mapping[Partition, Position]], object]


@dataclass(frozen=True, slots=True)
class RetryMember:
    """As whom the topic is read."""

    connection: KafkaAddress
    session_timeout_seconds: float = 45
    name: str | None = None
    """Static membership id; a restart under the same one causes no rebalance."""
    group: str = GROUP


class OnRevoked(Protocol):
    def __call__(self, partitions: Collection[Partition], *, lost: bool = False) -> None: ...


class KafkaRetrySource:
    """Reads the retry topic until `close`."""

    def __init__(self, member: RetryMember) -> None:
        self._consumer = Consumer(_configuration(member) | {"on_commit": self._committed})
        self._under_way: Mapping[Partition, Position] = {}
        self._on_committed: OnCommitted = dict
        self._reader = MessageReader(log)

    def subscribe(self, on_assigned: OnAssigned, on_revoked: OnRevoked, on_committed: OnCommitted) -> None:
        self._on_committed = on_committed

        def assigned(_: Any, partitions: list[TopicPartition]) -> None:
            on_assigned(self._finished_ahead(partitions))

        def revoked(_: Any, partitions: list[TopicPartition]) -> None:
            on_revoked(_places(partitions))

        def lost(_: Any, partitions: list[TopicPartition]) -> None:
            on_revoked(_places(partitions), lost=True)

        self._consumer.subscribe([RETRY], on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        """See RetrySource. Raises KafkaException where the client cannot go on."""
        # `consume` waits for a full batch; so wait for one record, then take what else is there.
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        return self._reader.records_of([first, *self._consumer.consume(at_most - 1, 0)])

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """See RetrySource. While one is under way the next waits: with the broker down that may be long."""
        if positions and not self._under_way:
            self._under_way = positions
            self._consumer.commit(offsets=_offsets(positions), asynchronous=True)

    def commit_now(self, positions: Mapping[Partition, Position]) -> None:
        """See RetrySource."""
        if not positions:
            return
        try:
            self._consumer.commit(offsets=_offsets(positions), asynchronous=False)
        except KafkaException as error:
            self._reader.tell(error.args[0])

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        under_way, self._under_way = self._under_way, {}
        if error is not None:
            self._reader.tell(error)
            return
        taken = {Partition(each.topic, each.partition) for each in partitions if each.error is None}
        self._on_committed({partition: position for partition, position in under_way.items() if partition in taken})

    def pause(self, partitions: Collection[Partition]) -> None:
        """See RetrySource."""
        self._consumer.pause([TopicPartition(*partition) for partition in partitions])

    def resume(self, partitions: Collection[Partition]) -> None:
        """See RetrySource."""
        self._consumer.resume([TopicPartition(*partition) for partition in partitions])

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        leave_group(self._consumer)

    def _finished_ahead(self, partitions: list[TopicPartition]) -> dict[Partition, Collection[int]]:
        try:
            committed = self._consumer.committed(partitions, timeout=_ANSWER_SECONDS)
        except KafkaException as error:
            # Some are sent a second time then; the ledger answers those without a second call.
            log.warning("what was done before is not known", error=error.args[0].str())
            committed = partitions
        return {
            Partition(each.topic, each.partition): finished_in(each.offset, each.metadata) if each.offset >= 0 else ()
            for each in committed
        }


def _offsets(positions: Mapping[Partition, Position]) -> list[TopicPartition]:
    return [
        TopicPartition(topic, number, next_offset, note_of(next_offset, ahead))
        for (topic, number), (next_offset, ahead) in positions.items()
    ]


def _places(partitions: list[TopicPartition]) -> list[Partition]:
    return [Partition(each.topic, each.partition) for each in partitions]


def _configuration(member: RetryMember) -> dict[str, Any]:
    return {
        **client_options(member.connection),
        "group.id": member.group,
        "client.id": GROUP,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(member.session_timeout_seconds * 1000),
        # What waits here beyond the shelves; the shelves have their own bound.
        "queued.max.messages.kbytes": 8 * 1024,
        "logger": logging.getLogger("headrace.kafka"),
        "reconnect.backoff.ms": 500,
        **({"group.instance.id": member.name} if member.name else {}),
    }
