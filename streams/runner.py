"""Work in flight: how much of it, in which batches, and what may be committed. Knows no Kafka library."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.record import Record
from streams.cancelling import cancel_and_wait
from streams.logs import logger_named
from streams.offsets import OffsetLine, Partition

log = logger_named("runner")

Release = Callable[[Record], None]
"""Called exactly once per record, when nothing more has to happen to it."""

AnswerBatch = Callable[[Sequence[Record], Release], Coroutine[None, None, None]]
"""Answers a batch; returns when every record is released. Raises only on a bug, which stops the worker."""


class OffsetCommitter(Protocol):
    """Tells the group how far this worker got."""

    async def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """Commit; False when the partitions are no longer ours (then they are redelivered elsewhere)."""
        ...


class PartitionWatch(Protocol):
    """Is told which partitions this process has."""

    async def arrived(self, partitions: Iterable[Partition]) -> None:
        """Before the first record of any of them."""
        ...

    async def left(self, partitions: Iterable[Partition]) -> None:
        """In good order, after the last commit."""
        ...


class NoWatch:
    """Nobody wants to know."""

    async def arrived(self, partitions: Iterable[Partition]) -> None:
        del partitions

    async def left(self, partitions: Iterable[Partition]) -> None:
        del partitions


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What one worker holds unfinished at most, and how it is cut."""

    records: int = 2000
    bytes: int = 128 * 1024 * 1024
    batch_records: int = 256
    linger_seconds: float = 0.002
    """How long a record waits for others to share its round trips."""
    held_per_partition: int = 10_000
    """Finished or not, above the committed position: what a crash redelivers at most."""


class Runner:
    """Takes records in order, has them answered in any order, commits only finished prefixes.

    `submit` waits when full; that wait is the backpressure. `on_crash` is called once with what went wrong.
    """

    def __init__(
        self,
        answer: AnswerBatch,
        committer: OffsetCommitter,
        limits: RunnerLimits,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._answer = answer
        self._committer = committer
        self._limits = limits
        self._on_crash = on_crash
        self._lines: dict[Partition, OffsetLine] = {}
        self._waiting: deque[Record] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._dispatching: asyncio.Handle | None = None
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._late = 0
        self._taken_at = 0.0
        self._crashed = False

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def in_flight_bytes(self) -> int:
        return self._in_flight_bytes

    @property
    def partitions(self) -> int:
        return len(self._lines)

    @property
    def late_completions(self) -> int:
        """Records that finished after their partition was taken away."""
        return self._late

    @property
    def taken_at(self) -> float:
        """When a record was last taken, on the loop's clock; 0 before the first."""
        return self._taken_at

    @property
    def has_room(self) -> bool:
        return self._in_flight < self._limits.records and self._in_flight_bytes < self._limits.bytes

    def next_offset(self, partition: Partition) -> int | None:
        """The offset after the last one taken; None before the first."""
        line = self._lines.get(partition)
        return None if line is None else line.next_to_take

    async def submit(self, record: Record) -> None:
        """Take one record, waiting while too much is unfinished. An older generation's or a repeated one is dropped."""
        line = self._line_of(record)
        while line is not None and not line.closed and self._is_full(line):
            self._changed.clear()
            await self._changed.wait()
            line = self._line_of(record)
        if line is None or line.closed or not line.take(record.offset):
            return
        self._in_flight += 1
        self._in_flight_bytes += record.size_bytes
        self._taken_at = asyncio.get_running_loop().time()
        self._waiting.append(record)
        if len(self._waiting) >= self._limits.batch_records:
            self._dispatch()
        elif self._dispatching is None:
            self._dispatching = asyncio.get_running_loop().call_later(self._limits.linger_seconds, self._dispatch)

    def on_assigned(self, partitions: Iterable[Partition], generation: int) -> None:
        """These partitions are ours from now on, each with a new line."""
        for partition in partitions:
            self._lines[partition] = OffsetLine(generation)

    async def on_revoked(self, partitions: Iterable[Partition], deadline_seconds: float) -> None:
        """Finish what can finish in time, commit it, let go; what finishes later is redelivered elsewhere."""
        leaving = {partition: self._lines[partition] for partition in partitions if partition in self._lines}
        for line in leaving.values():
            line.closed = True
        self._hand_back_waiting(leaving)
        self._changed.set()
        await self._settle(leaving.values(), deadline_seconds)
        await self.commit()
        for partition, line in leaving.items():
            if self._lines.get(partition) is line:
                del self._lines[partition]
        self._changed.set()

    async def drain(self, deadline_seconds: float) -> None:
        """Stop for good: as `on_revoked` for everything, then cancel what is left."""
        await self.on_revoked(list(self._lines), deadline_seconds)
        await cancel_and_wait(self._batches)

    async def commit(self) -> None:
        """Commit every position that moved."""
        moved = {part: offset for part, line in self._lines.items() if (offset := line.to_commit()) is not None}
        if moved and await self._committer.commit(moved):
            for partition, offset in moved.items():
                if partition in self._lines:
                    self._lines[partition].committed(offset)

    def _line_of(self, record: Record) -> OffsetLine | None:
        line = self._lines.get((record.topic, record.partition))  # type: ignore[call-overload]  # equal to a Partition
        return line if line is not None and line.generation == record.generation else None

    def _is_full(self, line: OffsetLine) -> bool:
        limits = self._limits
        return (
            self._in_flight >= limits.records
            or (self._in_flight_bytes >= limits.bytes and self._in_flight > 0)
            or line.held >= limits.held_per_partition
        )

    def _dispatch(self) -> None:
        if self._dispatching is not None:
            self._dispatching.cancel()
            self._dispatching = None
        while self._waiting:
            size = min(len(self._waiting), self._limits.batch_records)
            batch = [self._waiting.popleft() for _ in range(size)]
            task = asyncio.get_running_loop().create_task(self._answer(batch, self._release))
            self._batches.add(task)
            task.add_done_callback(self._batch_ended)

    def _batch_ended(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("answering_failed", error_type=type(error).__name__, exc_info=error)
            if not self._crashed:
                self._crashed = True
                self._on_crash(error)

    def _release(self, record: Record) -> None:
        self._in_flight -= 1
        self._in_flight_bytes -= record.size_bytes
        line = self._line_of(record)
        if line is None:
            self._late += 1
        else:
            line.finish(record.offset)
        self._changed.set()

    def _hand_back_waiting(self, leaving: Mapping[Partition, OffsetLine]) -> None:
        kept: deque[Record] = deque()
        while self._waiting:
            record = self._waiting.pop()
            line = leaving.get(Partition(record.topic, record.partition))
            if line is None or line.generation != record.generation:
                kept.appendleft(record)
                continue
            line.hand_back(record.offset)
            self._in_flight -= 1
            self._in_flight_bytes -= record.size_bytes
        self._waiting = kept

    async def _settle(self, lines: Iterable[OffsetLine], deadline_seconds: float) -> None:
        lines = list(lines)
        try:
            async with asyncio.timeout(deadline_seconds):
                while any(line.unfinished for line in lines):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("drain_deadline_passed", unfinished=sum(line.unfinished for line in lines))
