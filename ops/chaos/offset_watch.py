"""Looks at the workers' committed offsets all through a round: none may be past work that had no end by then."""

import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ops.chaos.load import Accepted
from ops.local.lag import GROUPS_OF_TOPIC, Partition
from schemas.topics import BULK_REQUESTS, REQUESTS

_EVERY_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 1.5

Look = tuple[float, Mapping[Partition, int]]
"""Unix time of an answer, and the committed positions in it."""


class OffsetWatch:
    """Runs while its block does; `looks` is what it saw."""

    def __init__(self, kafka: str, partitions: Iterable[Partition]) -> None:
        self.looks: list[Look] = []
        self._kafka = kafka
        self._partitions = list(partitions)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="offset-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        options = {"bootstrap.servers": self._kafka, "enable.auto.commit": False, "log_level": 0}
        readers = {
            topic: Consumer({**options, "group.id": GROUPS_OF_TOPIC[topic][0]}) for topic in (REQUESTS, BULK_REQUESTS)
        }
        while not self._stopping.wait(_EVERY_SECONDS):
            for topic, reader in readers.items():
                self._look(topic, reader)
        for reader in readers.values():
            reader.close()

    def _look(self, topic: str, reader: Consumer) -> None:
        places = [TopicPartition(*place) for place in self._partitions if place[0] == topic]
        try:
            committed = reader.committed(places, timeout=_ANSWER_SECONDS)
        except KafkaException:
            return  # the broker is away: then nothing is committed either
        self.looks.append((time.time(), {(each.topic, each.partition): each.offset for each in committed}))


def committed_early(looks: Iterable[Look], accepted: Iterable[Accepted], ended_at: Mapping[UUID, float]) -> list[UUID]:
    """Requests that lay below a committed offset before anything was published for them. Pure."""
    first_seen: dict[Partition, list[tuple[float, int]]] = {}
    for at, positions in looks:
        for place, offset in positions.items():
            steps = first_seen.setdefault(place, [])
            if not steps or offset > steps[-1][1]:
                steps.append((at, offset))
    early: list[UUID] = []
    for each in accepted:
        passed = (at for at, offset in first_seen.get((each.topic, each.partition), ()) if offset > each.offset)
        passed_at = next(passed, None)
        if passed_at is not None and ended_at.get(each.id, passed_at + 1) > passed_at:
            early.append(each.id)
    return early
