"""Reading the dead letters: all that fit a filter, or one by its place; and deleting them up to a place."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from producers.kafka_connection import KafkaAddress, client_options
from schemas.record import Record
from schemas.topics import DEAD_LETTERS
from streams.subscribe_start import partitions_of, start_positions

Pairs = list[tuple[str, str | bytes | None]]

_ANSWER_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 20.0
_READ_RECORDS: Final = 200


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it stands on its topic."""

    record: Record

    @property
    def place(self) -> str:
        return f"{self.record.partition}:{self.record.offset}"

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.record.timestamp_ms / 1000, UTC)

    @property
    def reason(self) -> str:
        return self.record.header("x-error-type") or "unknown"

    @property
    def message(self) -> str:
        return self.record.header("x-error-message") or ""

    @property
    def origin_topic(self) -> str | None:
        return self.record.header("x-original-topic")

    @property
    def origin(self) -> str:
        """Topic, partition and offset it was read at first."""
        told = (self.record.header(f"x-original-{name}") or "?" for name in ("topic", "partition", "offset"))
        return "/".join(told)

    def about(self) -> dict[str, Any]:
        """What may be shown of it: never its value."""
        return {
            "place": self.place,
            "at": self.at.isoformat(timespec="milliseconds"),
            "reason": self.reason,
            "message": self.message,
            "origin": self.origin,
            "value_bytes": None if self.record.value is None else len(self.record.value),
        }


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; None is any. `since` and `until` are when they were set aside."""

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    places: frozenset[str] = frozenset()

    def takes(self, letter: Letter) -> bool:
        return (
            self.reason in {None, letter.reason}
            and self.topic in {None, letter.origin_topic}
            and (self.since is None or letter.at >= _to_the_millisecond(self.since))
            and (self.until is None or letter.at < _to_the_millisecond(self.until))
            and (not self.places or letter.place in self.places)
        )


def _to_the_millisecond(time: datetime) -> datetime:
    """As records are stamped: one set aside within the millisecond of `time` counts as later."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def letters(kafka: KafkaAddress, wanted: LetterFilter) -> Iterator[Letter]:
    """Every letter the filter takes, up to where the topic ends now. Raises KafkaException, TopicMissingError."""
    consumer = Consumer(_configuration(kafka))
    try:
        partitions = partitions_of(consumer, DEAD_LETTERS)
        starts = start_positions(consumer, partitions, wanted.since or "earliest")
        ends = {each.partition: each.offset for each in start_positions(consumer, partitions, "now")}
        unread = [start for start in starts if start.offset < ends[start.partition]]
        yield from (letter for letter in _read(consumer, unread, ends) if wanted.takes(letter))
    finally:
        consumer.close()


def letter_at(kafka: KafkaAddress, partition: int, offset: int) -> Letter | None:
    """The letter at that place; None where there is none, or none any more."""
    consumer = Consumer(_configuration(kafka))
    try:
        if partition not in {each.partition for each in partitions_of(consumer, DEAD_LETTERS)}:
            return None
        place = TopicPartition(DEAD_LETTERS, partition, offset)
        first, end = consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
        if not first <= offset < end:
            return None
        return next(_read(consumer, [place], {partition: offset + 1}), None)
    finally:
        consumer.close()


def counts_before(kafka: KafkaAddress, ends: Mapping[int, int]) -> dict[int, int]:
    """How many letters each partition holds below that offset."""
    consumer = Consumer(_configuration(kafka))
    try:
        firsts = start_positions(consumer, partitions_of(consumer, DEAD_LETTERS), "earliest")
        return {each.partition: max(0, ends.get(each.partition, 0) - each.offset) for each in firsts}
    finally:
        consumer.close()


def ends_at(kafka: KafkaAddress, until: datetime) -> dict[int, int]:
    """The offset in each partition below which all letters were set aside before `until`."""
    consumer = Consumer(_configuration(kafka))
    try:
        found = start_positions(consumer, partitions_of(consumer, DEAD_LETTERS), until)
        return {each.partition: each.offset for each in found}
    finally:
        consumer.close()


def purge(kafka: KafkaAddress, ends: Mapping[int, int]) -> None:
    """Delete for good whatever stands below these offsets. Raises KafkaException."""
    config: dict[str, Any] = {**client_options(kafka), "logger": logging.getLogger("headrace.kafka")}
    admin = AdminClient(config)
    below = [TopicPartition(DEAD_LETTERS, partition, offset) for partition, offset in ends.items()]
    for answer in admin.delete_records(below, request_timeout=_ANSWER_SECONDS).values():
        answer.result(_ANSWER_SECONDS)


def _read(consumer: Consumer, starts: list[TopicPartition], ends: Mapping[int, int]) -> Iterator[Letter]:
    consumer.assign(starts)
    unread = {start.partition for start in starts}
    heard_at = time.monotonic()
    while unread:
        messages = consumer.consume(_READ_RECORDS, 0.2)
        for message in messages:
            letter = _letter_in(message)
            partition = message.partition() or 0
            reached = (message.offset() or 0) if letter is None else letter.record.offset + 1
            if reached >= ends[partition]:  # an end that is told too early is not the end
                unread.discard(partition)
            if letter is not None and letter.record.offset < ends[partition]:
                yield letter
        heard_at = time.monotonic() if messages else heard_at
        if time.monotonic() - heard_at > _SILENT_SECONDS:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the client's name for it


def _letter_in(message: Message) -> Letter | None:
    """None at the end of a partition. Raises KafkaException."""
    error = message.error()
    if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name for it
        return None
    if error is not None:
        raise KafkaException(error)
    headers = tuple((str(name), _bytes(value)) for name, value in cast("Pairs", message.headers() or ()))
    place = (DEAD_LETTERS, message.partition() or 0, message.offset() or 0)
    return Letter(Record(*place, _bytes(message.key()), _bytes(message.value()), headers, message.timestamp()[1]))


def _bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None


def _configuration(kafka: KafkaAddress) -> dict[str, Any]:
    return {
        **client_options(kafka),
        "client.id": "headrace-dead-letters",
        "group.id": "headrace-dead-letters",  # the client wants a name; nothing is committed under it
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "logger": logging.getLogger("headrace.kafka"),
    }
