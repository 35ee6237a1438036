"""The two neighbours of a Runner, in the test's hand: what is answered when, and which commits are confirmed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from schemas.record import Record
from streams.offsets import Partition
from streams.runner import Release


class AnswersByHand:
    """Begins what it is given; a record is finished when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.unfinished: dict[Record, Release] = {}
        self.failure: Exception | None = None
        self.cancelled = 0
        self._moved = asyncio.Condition()

    @property
    def begun(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]

    async def answer(self, records: Sequence[Record], release: Release) -> None:
        """See AnswerBatch."""
        self.batches.append(list(records))
        if self.failure is not None:
            raise self.failure
        self.unfinished.update(dict.fromkeys(records, release))
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: not any(record in self.unfinished for record in records))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def finish(self, *records: Record) -> None:
        async with self._moved:
            for record in records:
                self.unfinished.pop(record)(record)
            self._moved.notify_all()
        await turns()


class CommitsByHand:
    """Keeps what was committed; refuses while `ours` is False."""

    def __init__(self) -> None:
        self.positions: dict[Partition, int] = {}
        self.calls: list[dict[Partition, int]] = []
        self.ours = True

    async def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """See OffsetCommitter."""
        self.calls.append(dict(next_offsets))
        if self.ours:
            self.positions.update(next_offsets)
        return self.ours


async def turns(count: int = 12) -> None:
    """Let everything that can run do so; nothing here waits for a clock."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], within_seconds: float = 5) -> None:
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)
