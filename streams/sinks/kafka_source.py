"""`KafkaSource`: a RecordSource on confluent-kafka. Rebalances are cooperative: what stays is read on meanwhile."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.kafka_access import explained
from producers.kafka_connection import KafkaAddress, client_options
from schemas.record import Record
from streams.logs import logger_named
from streams.sinks.batching import Partition

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
        self._told: str | None = None
        self._unconfirmed: dict[Partition, int] = {}
        self._under_way = False
        self._leaving = False

    def subscribe(self, on_revoked: OnRevoked) -> None:
        def revoked(_: Any, partitions: list[TopicPartition]) -> None:
            self._leaving = True  # the last chance to commit: this once it is waited for
            try:
                on_revoked([(each.topic, each.partition) for each in partitions])
            finally:
                self._leaving = False
            self._forget(partitions)

        def lost(_: Any, partitions: list[TopicPartition]) -> None:
            on_revoked([(each.topic, each.partition) for each in partitions], lost=True)
            self._forget(partitions)

        self._consumer.subscribe(self._topics, on_revoke=revoked, on_lost=lost)

    def read(self, at_most: int, timeout_seconds: float) -> Sequence[Record]:
        """See RecordSource. Raises KafkaException where the client cannot go on."""
        self._send_commit()
        records = []
        for message in self._consumer.consume(at_most, timeout_seconds):
            error = message.error()
            if error is None:
                records.append(_record(message))
            else:
                self._tell(error)
        return records

    def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """See RecordSource. Not waited for: with the broker away that would be without end, and membership would die.

        What the broker has not confirmed is sent again with the next read.
        """
        self._unconfirmed |= next_offsets
        return self._commit_now() if self._leaving else self._send_commit()

    def pause(self) -> None:
        """See RecordSource."""
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """See RecordSource."""
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Commit what is not confirmed and leave the group, so that others take over at once."""
        if self._unconfirmed:
            self._commit_now()
        self._consumer.close()

    def _send_commit(self) -> bool:
        if self._unconfirmed and not self._under_way:
            self._under_way = True
            self._consumer.commit(offsets=_offsets(self._unconfirmed), asynchronous=True)
        return True

    def _commit_now(self) -> bool:
        try:
            taken = self._consumer.commit(offsets=_offsets(self._unconfirmed), asynchronous=False)
        except KafkaException as error:
            log.warning("commit failed", error=explained(error.args[0]))
            return False
        self._confirm(taken or ())
        return all(each.error is None for each in taken or ())

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._under_way = False
        if error is not None:
            self._tell(error)
            return
        self._confirm(partitions)

    def _confirm(self, partitions: Collection[TopicPartition]) -> None:
        for each in partitions:
            place = (each.topic, each.partition)
            if each.error is None and self._unconfirmed.get(place) == each.offset:
                del self._unconfirmed[place]

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for each in partitions:
            self._unconfirmed.pop((each.topic, each.partition), None)

    def _tell(self, error: KafkaError) -> None:
        # Read from a consumer, a fatal error does not call itself fatal: it comes as an event of this code.
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
            raise KafkaException(error)
        if error.str() != self._told:  # the client repeats itself until it is well again
            self._told = error.str()
            log.warning("reading fails", error=explained(error))


def _offsets(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items()]


def _record(message: Any) -> Record:
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
        message.timestamp()[1],
    )


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
        **member,
    }
