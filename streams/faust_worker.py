"""The engine adapter: Faust fetches and keeps membership; everything else is the Runner's. Nothing else knows Faust."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from producers.kafka_connection import KafkaAddress, KafkaConnection, connection_to
from schemas.record import Record
from streams import faust_group, tolerant_records
from streams.lean_transport import LeanTransport
from streams.logs import logger_named
from streams.offsets import Partition
from streams.runner import NoWatch, PartitionWatch, Runner
from streams.tolerant_records import READ_ERROR_HEADER

log = logger_named("faust_worker")

_MONTH_SECONDS = 30 * 24 * 60 * 60
_POLL_RECORDS = 500
_BUFFERED_POLLS = 4
_LAG_SECONDS = 10
_LOOKS_AT_LAG = 3
_GROUP_ERRORS = 6


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs to know of its group and its broker."""

    connection: KafkaAddress
    group: str
    topic: str
    data_dir: Path
    member: str | None = None
    """Static membership id; a restart under the same one causes no rebalance."""
    session_timeout_seconds: float = 45
    commit_interval_seconds: float = 0.5
    drain_seconds: float = 20
    max_record_bytes: int = 2 * 1024 * 1024
    stall_seconds: float = 60
    """So long without a record while there is lag and room, and the app gives up: a silent consumer never wakes."""


class FaustOffsetCommitter:
    """Commits through the running app's consumer."""

    def __init__(self) -> None:
        self.app: faust.App | None = None

    async def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        if self.app is None:
            return False
        ours = self.app.consumer.assignment()
        wanted = ((TP(partition.topic, partition.number), offset) for partition, offset in next_offsets.items())
        offsets = {partition: offset for partition, offset in wanted if partition in ours}
        if not offsets:  # Faust would end the app for a commit of nothing
            return False
        return bool(await self.app.consumer._commit(offsets))  # noqa: SLF001 - held by a contract test


class WorkerApp(faust.App):  # type: ignore[misc]
    """A Faust app with one agent that hands records to `runner`."""

    def __init__(self, settings: EngineSettings, runner: Runner, watch: PartitionWatch) -> None:
        super().__init__(settings.group, **_faust_settings(settings))
        self._runner = runner
        self._watch = watch
        self._held: frozenset[Partition] = frozenset()
        self._engine = settings
        self._ready = False
        self._assigned_at = 0.0
        self._group_errors = 0
        self.on_partitions_revoked.connect(self._let_go, weak=False)
        self.on_before_shutdown.connect(self._drain, weak=False)
        self.agent(
            # No acks: Faust's own bookkeeping commits past unfinished records (research/faust.md, D1).
            self.topic(
                settings.topic, key_type=bytes, value_type=bytes, acks=False, maxsize=_BUFFERED_POLLS, internal=True
            ),
            name=f"answer-{settings.topic}",
        )(self._take)
        self.task(self._commit_regularly)
        self.task(self._watch_progress)

    async def _take(self, stream: Any) -> None:
        batches = stream.noack()
        async for batch in batches:
            generation = batches.current_event.message.generation_id
            for fetched in batch:
                await self._runner.submit(_record_of(fetched, generation))

    @property
    def crash_event(self) -> asyncio.Event:
        """Set when Faust gave up; the process must end then and be started again."""
        crashed: asyncio.Event = self._crashed
        return crashed

    def problem(self) -> str | None:
        """None when this app can do its work, else what it lacks."""
        if self.crashed:
            return "the consumer has crashed; see the log"
        return None if self._runner.partitions or self._ready else "no assignment from the group yet"

    def _new_transport(self) -> LeanTransport:
        return LeanTransport(self.conf.broker_consumer, self)

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # Before Faust resumes the flow: a record without a line would be dropped.
        self._ready = True
        self._assigned_at = asyncio.get_running_loop().time()
        self._held = frozenset(map(_partition_of, assigned))
        await self._watch.arrived(self._held)
        self._runner.on_assigned(self._held, generation_id)
        log.info("assigned", topic=self._engine.topic, partitions=len(assigned), generation=generation_id)
        await super()._on_partitions_assigned(assigned, generation_id)

    async def _let_go(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        log.info("revoked", topic=self._engine.topic, partitions=len(revoked))
        leaving = frozenset(map(_partition_of, revoked))
        await self._runner.on_revoked(leaving, self._engine.drain_seconds)
        await self._watch.left(leaving)

    async def _drain(self, _app: Any, **_: Any) -> None:
        log.info("draining", topic=self._engine.topic, in_flight=self._runner.in_flight)
        await self._runner.drain(self._engine.drain_seconds)
        await self._watch.left(self._held)

    async def _commit_regularly(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(self._engine.commit_interval_seconds)
            await self._end_at_lasting_error()
            if not self.rebalancing:
                await self._runner.commit()

    async def _end_at_lasting_error(self) -> None:
        """End the app at an error of its group that is there at every look, so many times in a row."""
        error = await faust_group.take_error(self.consumer)
        self._group_errors = 0 if error is None else self._group_errors + 1
        if error is not None:
            log.warning("group_error", reason=type(error).__name__)
        if self._group_errors == _GROUP_ERRORS:
            log.error("group_error_stays", next_step="the worker ends and is to be started again")
            await self.crash(error)

    async def _watch_progress(self) -> None:
        # Lag that is seen once proves nothing: the record may have come, or the broker come back, a moment ago.
        seen = 0
        while not self.should_stop:
            await asyncio.sleep(self._engine.stall_seconds / 4)
            seen = seen + 1 if self._may_be_stalled() and await self._has_lag() else 0
            if seen == _LOOKS_AT_LAG:
                log.error("stalled", topic=self._engine.topic, next_step="the worker ends and is to be started again")
                await self.crash(StalledError(self._engine.topic))

    def _may_be_stalled(self) -> bool:
        if self.rebalancing or not self._runner.partitions or not self._runner.has_room:
            return False
        since = max(self._runner.taken_at, self._assigned_at)
        return asyncio.get_running_loop().time() - since > self._engine.stall_seconds

    async def _has_lag(self) -> bool:
        try:
            async with asyncio.timeout(_LAG_SECONDS):
                partitions = self.consumer.assignment()
                ends = await self.consumer.highwaters(*partitions)
                behind = [partition for partition, end in ends.items() if end > await self._position(partition)]
        except Exception as error:  # noqa: BLE001 - a broker that is away is no stall; it is asked again
            log.warning("lag_unknown", reason=type(error).__name__)
            return False
        return bool(behind)

    async def _position(self, partition: TP) -> int:
        taken = self._runner.next_offset(_partition_of(partition))
        return taken if taken is not None else int(await self.consumer.position(partition) or 0)


class StalledError(RuntimeError):
    """Partitions are held, there is lag and room, and nothing is taken."""


def make_app(
    settings: EngineSettings, runner: Runner, committer: FaustOffsetCommitter, watch: PartitionWatch | None = None
) -> WorkerApp:
    """The app, ready to start; commits of `runner` go through it from now on. Raises MissingCodecError."""
    tolerant_records.install()
    faust_group.install()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = WorkerApp(settings, runner, watch or NoWatch())
    committer.app = app
    return app


def _faust_settings(settings: EngineSettings) -> dict[str, Any]:
    """The settings that research/faust.md, section 7, gives reasons for."""
    connection = connection_to(settings.connection)
    return {
        "broker": [f"kafka://{server.strip()}" for server in connection.servers.split(",")],
        "broker_credentials": _credentials(connection),
        "datadir": str(settings.data_dir),
        "key_serializer": "raw",
        "value_serializer": "raw",
        "web_enabled": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        # A worker that waits, or has no partition, must not leave the group for good (D2).
        "broker_max_poll_interval": _MONTH_SECONDS,
        "broker_max_poll_records": _POLL_RECORDS,
        "broker_commit_every": 2**31,
        "broker_commit_interval": 60.0,
        "broker_session_timeout": settings.session_timeout_seconds,
        "broker_heartbeat_interval": min(3.0, settings.session_timeout_seconds / 3),
        "broker_request_timeout": max(60.0, settings.session_timeout_seconds),
        "broker_rebalance_timeout": max(60.0, 2 * settings.drain_seconds),
        "consumer_group_instance_id": settings.member,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": settings.max_record_bytes,
        "stream_wait_empty": False,
        "stream_buffer_maxsize": _BUFFERED_POLLS,
        "stream_processing_timeout": 900.0,
        "broker_commit_livelock_soft_timeout": 900.0,
        "producer_request_timeout": 30.0,
    }


def _credentials(connection: KafkaConnection) -> faust.SASLCredentials | faust.SSLCredentials | None:
    context = _tls_context(connection) if connection.with_tls else None
    if connection.with_password:
        return faust.SASLCredentials(
            username=connection.username,
            password=connection.password,
            ssl_context=context,
            mechanism=connection.mechanism,
        )
    return faust.SSLCredentials(context) if context else None


def _tls_context(connection: KafkaConnection) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=connection.ca_file)
    if connection.certificate_file:
        context.load_cert_chain(connection.certificate_file, connection.key_file)
    return context


def _partition_of(partition: TP) -> Partition:
    return Partition(partition.topic, partition.partition)


def _record_of(fetched: ConsumerRecord, generation: int) -> Record:
    headers = tuple(fetched.headers)
    broken = len(headers) == 1 and headers[0][0] == READ_ERROR_HEADER
    return Record(
        fetched.topic,
        fetched.partition,
        fetched.offset,
        fetched.key,
        fetched.value,
        headers,
        fetched.timestamp,
        generation,
        # A producer may use the marker's name too, with anything as its value.
        (headers[0][1] or b"").decode(errors="replace") if broken else None,
    )
