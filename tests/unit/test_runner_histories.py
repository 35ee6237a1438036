"""Invariant O over any history of submits, finishes, commits and rebalances."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.record import Record
from schemas.topics import REQUESTS
from streams.offsets import Partition
from streams.runner import Runner, RunnerLimits
from tests.answers_by_hand import AnswersByHand, CommitsByHand, turns
from tests.builders import a_record

PARTITIONS = [Partition(REQUESTS, number) for number in range(3)]
numbers = st.integers(0, len(PARTITIONS) - 1)


class RunnerHistory(RuleBasedStateMachine):
    """One worker of a group; the committer checks every position against what the test knows."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.answers, self.commits = AnswersByHand(), CommitsByHand()
        limits = RunnerLimits(records=6, batch_records=3, linger_seconds=0, held_per_partition=5)
        self.runner = Runner(self.answers.answer, self, limits, self._crashed)
        self.generation = 0
        self.next_fetch: dict[Partition, int] = {}
        self.submits: dict[Record, asyncio.Task[None]] = {}
        self.finished: set[Record] = set()
        self._rebalance(PARTITIONS)

    async def commit(self, next_offsets: Mapping[Partition, int]) -> bool:
        """The runner's OffsetCommitter."""
        for partition, position in next_offsets.items():
            ours = [record for record in self._taken() if record.partition == partition.number]
            unfinished = [record.offset for record in ours if record not in self.finished]
            assert position <= min(unfinished, default=position), "committed past unfinished work"
            assert position in {record.offset + 1 for record in ours if record in self.finished}
        return await self.commits.commit(next_offsets)

    @precondition(lambda self: all(task.done() for task in self.submits.values()))
    @rule(number=numbers, gap=st.integers(0, 3))
    def submit(self, number: int, gap: int) -> None:
        partition = PARTITIONS[number]
        if partition in self.next_fetch:
            offset = self.next_fetch[partition] + gap
            self.next_fetch[partition] = offset + 1
            record = a_record(offset, number, self.generation)
            self.submits[record] = self.loop.create_task(self.runner.submit(record))
            self._run(turns())

    @rule(data=st.data())
    def submit_something_twice(self, data: st.DataObject) -> None:
        if taken := self._taken():
            self._run(self._briefly(self.runner.submit(data.draw(st.sampled_from(taken)))))

    @rule(number=numbers, offset=st.integers(0, 5))
    def submit_of_an_older_generation(self, number: int, offset: int) -> None:
        self._run(self.runner.submit(a_record(offset, number, self.generation - 1)))

    @precondition(lambda self: self.answers.unfinished)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(sorted(self.answers.unfinished)))
        self.finished.add(record)
        self._run(self.answers.finish(record))

    @rule(ours=st.booleans())
    def commit_regularly(self, ours: bool) -> None:
        self.commits.ours = ours
        self._run(self.runner.commit())

    @rule(kept=st.sets(numbers))
    def rebalance(self, kept: set[int]) -> None:
        self._run(self.runner.on_revoked(list(self.next_fetch), 0))
        self._rebalance([PARTITIONS[number] for number in sorted(kept)])

    @rule(number=numbers)
    def revoke_one(self, number: int) -> None:
        self._run(self.runner.on_revoked([PARTITIONS[number]], 0))
        self.next_fetch.pop(PARTITIONS[number], None)

    @invariant()
    def nothing_is_begun_twice_and_the_bounds_hold(self) -> None:
        begun = self.answers.begun
        assert len(begun) == len(set(begun))
        assert 0 <= self.runner.in_flight <= 6
        assert self.runner.partitions == len(self.next_fetch)

    def teardown(self) -> None:
        """Whatever happened before: once all is finished, all is committed, and nothing is in flight."""
        self.commits.ours = True
        while self.answers.unfinished or not all(task.done() for task in self.submits.values()):
            records = list(self.answers.unfinished)
            self.finished.update(records)
            self._run(self.answers.finish(*records))
        taken = self._taken()
        self._run(self.runner.commit())
        for partition in self.next_fetch:
            offsets = [record.offset for record in taken if record.partition == partition.number]
            assert not offsets or self.commits.positions[partition] == max(offsets) + 1
        assert (self.runner.in_flight, self.runner.in_flight_bytes) == (0, 0)
        self._run(self.runner.drain(0))
        self.loop.close()

    def _taken(self) -> list[Record]:
        return [
            record
            for record, task in self.submits.items()
            if task.done() and record.generation == self.generation and PARTITIONS[record.partition] in self.next_fetch
        ]

    def _rebalance(self, partitions: list[Partition]) -> None:
        self.generation += 1
        self.next_fetch = {partition: self.commits.positions.get(partition, 0) for partition in partitions}
        self._run(self._assign(partitions))

    async def _assign(self, partitions: list[Partition]) -> None:
        self.runner.on_assigned(partitions, self.generation)
        await turns()

    @staticmethod
    async def _briefly(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        await turns()
        task.cancel()

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(work)

    @staticmethod
    def _crashed(error: BaseException) -> None:
        raise AssertionError from error


TestRunnerHistories = RunnerHistory.TestCase
TestRunnerHistories.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
