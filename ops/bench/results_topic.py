"""The topic of results from outside: how many there are, when each was written, and where a group stands."""

from time import monotonic
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

# `confluent_kafka.admin` re-exports it without saying so.
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.topics import REQUESTS, RESULTS

_ANSWER_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0
_BATCH: Final = 2000
_MEBIBYTE: Final = 1024 * 1024

Ends = dict[int, int]
"""The next offset of each partition."""


class ResultsTopic:
    """`llm.results` of one broker."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._partitions = sorted(self._admin.list_topics(RESULTS, timeout=_ANSWER_SECONDS).topics[RESULTS].partitions)

    def ends(self) -> Ends:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(RESULTS, number): latest for number in self._partitions}
        answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
        return {place.partition: answer.result(_ANSWER_SECONDS).offset for place, answer in answers.items()}

    def count_since(self, start: Ends) -> int:
        return sum(self.ends().values()) - sum(start.values())

    def consumer_from(self, start: Ends, patience_ms: int = 20) -> Consumer:
        """A consumer outside of any group, at these offsets, asking about each `patience_ms`; the caller closes it."""
        consumer = Consumer(
            {"bootstrap.servers": self._kafka, "group.id": "bench-reader", "enable.auto.commit": False}
            | {"fetch.wait.max.ms": patience_ms, "fetch.min.bytes": _MEBIBYTE}
        )
        consumer.assign([TopicPartition(RESULTS, number, offset) for number, offset in start.items()])
        return consumer

    def times_since(self, start: Ends, records: int) -> list[float]:
        """When each of the `records` written since `start` was written, in seconds, in order."""
        consumer, deadline = self.consumer_from(start), monotonic() + _READ_SECONDS
        times: list[float] = []
        while len(times) < records:
            if monotonic() > deadline:
                raise RuntimeError(f"{len(times)} of {records} results could be read; run: headrace doctor")
            times += [_seconds(message) for message in consumer.consume(_BATCH, 0.2) if message.error() is None]
        consumer.close()
        return sorted(times)


def rewind(kafka: str, group: str) -> None:
    """Let `group`, which must have no member now, read the requests from the start again."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
    partitions = consumer.list_topics(REQUESTS, timeout=_ANSWER_SECONDS).topics[REQUESTS].partitions
    consumer.commit(offsets=[TopicPartition(REQUESTS, number, 0) for number in partitions], asynchronous=False)
    consumer.close()


def _seconds(message: Message) -> float:
    _, milliseconds = message.timestamp()
    return milliseconds / 1000
