"""A Faust engine in this process, on a topic and a group of its own, with a scripted answer."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.record import Record
from streams.faust_worker import EngineSettings, FaustOffsetCommitter, WorkerApp, make_app
from streams.runner import Release, Runner, RunnerLimits


def a_topic(kafka: str, partitions: int = 1, **config: str) -> str:
    """A new topic; keyword arguments are its settings, underscores for dots."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": kafka})
    created = admin.create_topics([NewTopic(name, partitions, 1, config=settings)])
    created[name].result(30)
    return name


def publish(kafka: str, topic: str, values: Iterable[bytes], partition: int = 0, **config: str) -> None:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5, **settings})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0


def committed(kafka: str, group: str, topic: str, partition: int = 0) -> int:
    """The group's next offset; negative when it committed none."""
    reader = Consumer({"bootstrap.servers": kafka, "group.id": group})
    try:
        return int(reader.committed([TopicPartition(topic, partition)], timeout=20)[0].offset)
    finally:
        reader.close()


async def eventually(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Look until it holds."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - the broker raises no event here
            await asyncio.sleep(0.02)


@dataclass
class Answers:
    """Takes records; finishes each at once unless `hold` says to wait for `let_go`."""

    hold: Callable[[Record], bool] = lambda _: False
    seen: list[Record] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, records: Sequence[Record], release: Release) -> None:
        self.seen.extend(records)
        held = [record for record in records if self.hold(record)]
        for record in records:
            if record not in held:
                release(record)
        if held:
            await self.let_go.wait()
        for record in held:
            release(record)

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.seen]


@contextlib.asynccontextmanager
async def engine(
    kafka: str,
    topic: str,
    group: str,
    answer: Callable[[Sequence[Record], Release], Coroutine[None, None, None]],
    folder: Path,
    limits: RunnerLimits | None = None,
    **settings: Any,
) -> AsyncIterator[WorkerApp]:
    """Started; stopped and drained at the end of the block."""
    committer = FaustOffsetCommitter()
    failures: list[BaseException] = []
    runner = Runner(answer, committer, limits or RunnerLimits(), failures.append)
    quick: dict[str, Any] = {
        "session_timeout_seconds": 6,
        "commit_interval_seconds": 0.1,
        "drain_seconds": 5,
        "data_dir": folder,
    }
    app = make_app(EngineSettings(kafka, group, topic, **(quick | settings)), runner, committer)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
    assert not failures


async def abandon(app: WorkerApp) -> None:
    """End an app as a kill would: nothing is drained, nothing more is committed."""
    app._engine = EngineSettings(**{**_fields(app._engine), "drain_seconds": 0})
    app._runner._committer = _NoCommitter()
    await app.stop()


class _NoCommitter:
    async def commit(self, next_offsets: Any) -> bool:
        del next_offsets
        return False


def _fields(settings: EngineSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}
