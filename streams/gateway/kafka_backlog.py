"""`KafkaBacklogReader`: how much of each lane waits, asked of the broker once a second in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from producers.kafka_connection import KafkaAddress, client_options
from schemas.topics import REQUEST_TOPIC_OF_LANE, Lane
from streams.gateway.queue_load import Backlog
from streams.logs import logger_named

log = logger_named("gateway")

GROUP_OF_LANE: Final[Mapping[Lane, str]] = {lane: f"headrace-worker-{lane}" for lane in REQUEST_TOPIC_OF_LANE}

_EVERY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_CLOSE_SECONDS: Final = 5.0


class BacklogUnknownError(Exception):
    """The broker cannot say how much waits; the message says what to do."""


class KafkaBacklogReader:
    """Tells `seen` or `missed` on the loop of `start`, through any outage.

    A topic that is widened is counted whole after the next start.
    """

    def __init__(
        self,
        kafka: KafkaAddress,
        seen: Callable[[Mapping[Lane, Backlog]], None],
        missed: Callable[[str], None],
    ) -> None:
        self._kafka = kafka
        self._seen = seen
        self._missed = missed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; call it on the loop that is to be told."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read_on, args=(loop,), name="backlog", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """End the thread; one that waits for a broker that is down is left to end by itself. Safe to repeat."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    def _read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        questions = BacklogQuestions(self._kafka)
        try:
            while not self._stop.is_set():
                try:
                    loop.call_soon_threadsafe(self._seen, questions.backlogs())
                except BacklogUnknownError as error:
                    loop.call_soon_threadsafe(self._missed, str(error))
                self._stop.wait(_EVERY_SECONDS)
        except RuntimeError:  # the loop was closed before us
            return
        finally:
            questions.close()


class BacklogQuestions:
    """Asks one broker, on connections that are kept. Not for two threads."""

    def __init__(self, kafka: KafkaAddress) -> None:
        common: dict[str, Any] = {**client_options(kafka), "logger": logging.getLogger("headrace.kafka")}
        self._admin = AdminClient({**common, "client.id": "headrace-gateway"})
        # Read without joining, through consumers: the admin client's own call for a group's commits ends the process
        # with a segmentation fault while the broker still looks for its coordinator (confluentinc/librdkafka#5040).
        self._members = {
            lane: Consumer({**common, "client.id": "headrace-gateway", "group.id": group, "enable.auto.commit": False})
            for lane, group in GROUP_OF_LANE.items()
        }
        self._partitions: dict[Lane, list[int]] = {}

    def backlogs(self) -> dict[Lane, Backlog]:
        """Both lanes, now. Raises BacklogUnknownError."""
        try:
            if not self._partitions:
                self._partitions = self._found_partitions()
            ends = self._offsets(OffsetSpec.latest())  # type: ignore[no-untyped-call]
            committed = {lane: self._committed(lane) for lane in self._partitions}
            begins: dict[tuple[str, int], int] = {}
            if any(offset < 0 for offsets in committed.values() for offset in offsets.values()):
                begins = self._offsets(OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        except KafkaException as error:
            self._partitions = {}
            raise BacklogUnknownError(f"Kafka does not answer: {error.args[0].str()}. See: headrace status") from None
        return {lane: _backlog(offsets, ends, begins) for lane, offsets in committed.items()}

    def close(self) -> None:
        for member in self._members.values():
            member.close()

    def _found_partitions(self) -> dict[Lane, list[int]]:
        listed = self._admin.list_topics(timeout=_ANSWER_SECONDS).topics
        missing = [topic for topic in REQUEST_TOPIC_OF_LANE.values() if topic not in listed]
        if missing:
            raise BacklogUnknownError(f"there is no topic {missing[0]} on this cluster. Run: headrace topics apply")
        return {lane: sorted(listed[topic].partitions) for lane, topic in REQUEST_TOPIC_OF_LANE.items()}

    def _offsets(self, which: Any) -> dict[tuple[str, int], int]:
        asked = {
            TopicPartition(REQUEST_TOPIC_OF_LANE[lane], number): which
            for lane, numbers in self._partitions.items()
            for number in numbers
        }
        answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
        return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}

    def _committed(self, lane: Lane) -> dict[tuple[str, int], int]:
        topic = REQUEST_TOPIC_OF_LANE[lane]
        asked = [TopicPartition(topic, number) for number in self._partitions[lane]]
        places = self._members[lane].committed(asked, timeout=_ANSWER_SECONDS)
        return {(place.topic, place.partition): place.offset for place in places}


def _backlog(
    committed: Mapping[tuple[str, int], int],
    ends: Mapping[tuple[str, int], int],
    begins: Mapping[tuple[str, int], int],
) -> Backlog:
    positions = {place: max(offset, begins.get(place, 0)) for place, offset in committed.items()}
    waiting = sum(max(0, ends[place] - position) for place, position in positions.items())
    return Backlog(waiting, sum(positions.values()))
