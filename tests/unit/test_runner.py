"""Work in flight: its bounds, its batches, and what is committed of it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas.record import Record
from schemas.topics import REQUESTS
from streams.offsets import Partition
from streams.runner import Runner, RunnerLimits
from tests.answers_by_hand import AnswersByHand, CommitsByHand, turns, until
from tests.builders import a_record

FIRST, SECOND = Partition(REQUESTS, 0), Partition(REQUESTS, 1)


@dataclass
class Stage:
    """A runner that holds two partitions under generation 1, and its neighbours."""

    limits: RunnerLimits
    answers: AnswersByHand = field(default_factory=AnswersByHand)
    commits: CommitsByHand = field(default_factory=CommitsByHand)
    crashes: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runner = Runner(self.answers.answer, self.commits, self.limits, self.crashes.append)
        self.runner.on_assigned([FIRST, SECOND], generation=1)

    async def begin(self, *records: Record) -> None:
        """Submit and wait until all are begun."""
        for record in records:
            await self.runner.submit(record)
        await until(lambda: set(records) <= set(self.answers.begun))

    async def finish(self, *records: Record) -> None:
        await self.answers.finish(*records)


def a_stage(**limits: Any) -> Stage:
    return Stage(RunnerLimits(**({"linger_seconds": 0} | limits)))


async def started(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """`work` under way, as far as it comes by itself."""
    task = asyncio.create_task(work)
    await turns()
    return task


async def test_submit_waits_while_as_many_records_as_allowed_are_in_flight() -> None:
    stage = a_stage(records=2)
    first, second, third = a_record(0), a_record(1), a_record(2)
    await stage.begin(first, second)
    waiting = await started(stage.runner.submit(third))
    assert not waiting.done()
    await stage.finish(second)
    await asyncio.wait_for(waiting, 5)
    await until(lambda: third in stage.answers.begun)
    assert stage.runner.in_flight == 2


async def test_submit_waits_while_as_many_bytes_as_allowed_are_in_flight() -> None:
    stage = a_stage(bytes=100)
    large, small = a_record(0, value=b"x" * 100), a_record(1)
    await stage.begin(large)
    waiting = await started(stage.runner.submit(small))
    assert not waiting.done()
    assert stage.runner.in_flight_bytes == 100
    await stage.finish(large)
    await asyncio.wait_for(waiting, 5)
    assert stage.runner.in_flight_bytes == 2


async def test_a_record_larger_than_the_bound_is_taken_when_nothing_else_is_in_flight() -> None:
    stage = a_stage(bytes=10)
    await asyncio.wait_for(stage.begin(a_record(0, value=b"x" * 1000)), 5)
    assert stage.runner.in_flight == 1


async def test_submit_waits_while_one_slow_record_holds_too_many_finished_ones() -> None:
    stage = a_stage(held_per_partition=3)
    slow, *quick = [a_record(offset) for offset in range(3)]
    await stage.begin(slow, *quick)
    await stage.finish(*quick)
    waiting = await started(stage.runner.submit(a_record(3)))
    assert not waiting.done()
    await stage.finish(slow)
    await asyncio.wait_for(waiting, 5)


async def test_a_held_partition_does_not_hold_another() -> None:
    stage = a_stage(held_per_partition=1)
    await stage.begin(a_record(0, partition=0))
    await asyncio.wait_for(stage.begin(a_record(0, partition=1)), 5)


async def test_several_waiting_submits_all_come_through() -> None:
    stage = a_stage(records=1)
    first = a_record(0, partition=0)
    await stage.begin(first)
    others = [a_record(0, partition=1), a_record(1, partition=0)]
    waiting = [await started(stage.runner.submit(record)) for record in others]
    await stage.finish(first)
    await until(lambda: any(task.done() for task in waiting))
    await until(lambda: len(stage.answers.begun) == 2)
    await stage.finish(stage.answers.begun[1])
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_batches_are_at_most_as_large_as_allowed_and_in_order() -> None:
    stage = a_stage(batch_records=3, linger_seconds=0.005)
    records = [a_record(offset) for offset in range(8)]
    await stage.begin(*records)
    assert [len(batch) for batch in stage.answers.batches] == [3, 3, 2]
    assert stage.answers.begun == records


async def test_a_full_batch_does_not_linger() -> None:
    stage = a_stage(batch_records=2, linger_seconds=60)
    await asyncio.wait_for(stage.begin(a_record(0), a_record(1)), 5)
    assert len(stage.answers.batches) == 1


async def test_a_lone_record_waits_for_company_no_longer_than_the_linger() -> None:
    stage = a_stage(batch_records=100, linger_seconds=0.05)
    begun_at = asyncio.get_running_loop().time()
    await stage.runner.submit(a_record(0))
    await turns()
    assert stage.answers.batches == []
    await until(lambda: len(stage.answers.batches) == 1)
    assert 0.04 <= asyncio.get_running_loop().time() - begun_at < 2


async def test_out_of_order_finishes_commit_only_the_prefix() -> None:
    stage = a_stage()
    records = [a_record(offset) for offset in range(10, 15)]
    await stage.begin(*records)
    await stage.finish(records[1], records[4])
    await stage.runner.commit()
    assert stage.commits.calls == []
    await stage.finish(records[0])
    await stage.runner.commit()
    await stage.runner.commit()
    assert stage.commits.calls == [{FIRST: 12}]
    await stage.finish(records[2], records[3])
    await stage.runner.commit()
    assert stage.commits.positions == {FIRST: 15}


async def test_partitions_are_committed_side_by_side() -> None:
    stage = a_stage()
    records = [a_record(7, partition=0), a_record(70, partition=1)]
    await stage.begin(*records)
    await stage.finish(*records)
    await stage.runner.commit()
    assert stage.commits.calls == [{FIRST: 8, SECOND: 71}]


async def test_a_refused_commit_leaves_the_position_to_commit() -> None:
    stage = a_stage()
    record = a_record(3)
    await stage.begin(record)
    await stage.finish(record)
    stage.commits.ours = False
    await stage.runner.commit()
    stage.commits.ours = True
    await stage.runner.commit()
    assert stage.commits.calls == [{FIRST: 4}, {FIRST: 4}]
    assert stage.commits.positions == {FIRST: 4}


@pytest.mark.parametrize(
    "stranger",
    [a_record(0, partition=9), a_record(0, generation=0), a_record(0, generation=2)],
    ids=["partition", "older generation", "newer generation"],
)
async def test_records_of_an_unknown_partition_or_generation_are_dropped(stranger: Record) -> None:
    stage = a_stage()
    await stage.runner.submit(stranger)
    assert stage.runner.in_flight == 0
    await stage.begin(a_record(1))
    assert stranger not in stage.answers.begun


async def test_a_record_that_a_seek_repeats_is_answered_once() -> None:
    stage = a_stage()
    record = a_record(5)
    await stage.begin(record)
    await stage.runner.submit(record)
    await stage.begin(a_record(6))
    assert [begun.offset for begun in stage.answers.begun] == [5, 6]


async def test_a_late_completion_of_an_older_generation_is_counted_and_not_committed() -> None:
    stage = a_stage()
    late = a_record(0)
    await stage.begin(late)
    await stage.runner.on_revoked([FIRST, SECOND], 0)
    stage.runner.on_assigned([FIRST], generation=2)
    again = a_record(0, generation=2)
    await stage.begin(again)
    await stage.finish(late)
    await stage.runner.commit()
    assert stage.runner.late_completions == 1
    assert stage.commits.positions == {}
    assert stage.runner.in_flight == 1
    await stage.finish(again)
    await stage.runner.commit()
    assert stage.commits.positions == {FIRST: 1}


async def test_a_revoke_waits_for_begun_work_and_commits_it() -> None:
    stage = a_stage()
    records = [a_record(0), a_record(1)]
    await stage.begin(*records)
    revoke = await started(stage.runner.on_revoked([FIRST], 30))
    assert not revoke.done()
    await stage.finish(*records)
    await asyncio.wait_for(revoke, 5)
    assert stage.commits.positions == {FIRST: 2}
    assert stage.runner.partitions == 1


async def test_a_revoke_does_not_wait_past_its_deadline_and_commits_the_prefix() -> None:
    stage = a_stage()
    records = [a_record(offset) for offset in range(3)]
    await stage.begin(*records)
    await stage.finish(records[0], records[2])
    await asyncio.wait_for(stage.runner.on_revoked([FIRST], 0.02), 5)
    assert stage.commits.positions == {FIRST: 1}
    await stage.finish(records[1])
    await stage.runner.commit()
    assert stage.commits.positions == {FIRST: 1}


async def test_a_revoke_hands_back_what_was_not_begun() -> None:
    stage = a_stage(linger_seconds=60)
    await stage.runner.submit(a_record(0))
    await stage.runner.submit(a_record(1))
    await asyncio.wait_for(stage.runner.on_revoked([FIRST], 30), 5)
    assert (stage.runner.in_flight, stage.runner.in_flight_bytes) == (0, 0)
    assert stage.answers.batches == []
    assert stage.commits.calls == []


async def test_a_revoke_of_one_partition_leaves_the_other_its_waiting_records() -> None:
    stage = a_stage(linger_seconds=0.02)
    kept = [a_record(0, partition=1), a_record(1, partition=1)]
    for record in (a_record(0), kept[0], a_record(1), kept[1]):
        await stage.runner.submit(record)
    await stage.runner.on_revoked([FIRST], 30)
    await until(lambda: stage.answers.begun == kept)
    assert stage.runner.in_flight == 2


async def test_what_a_revoke_hands_back_makes_room_at_once() -> None:
    stage = a_stage(records=2, linger_seconds=60, batch_records=2)
    begun, others = [a_record(0), a_record(0, partition=1)], a_record(1, partition=1)
    await stage.begin(*begun)
    await stage.finish(begun[1])
    await stage.runner.submit(a_record(1))
    waiting = await started(stage.runner.submit(others))
    assert not waiting.done()
    revoke = await started(stage.runner.on_revoked([FIRST], 30))
    await asyncio.wait_for(waiting, 5)
    assert not revoke.done()
    await stage.finish(begun[0])
    await asyncio.wait_for(revoke, 5)


async def test_submit_lets_a_waiting_record_of_a_revoked_partition_fall() -> None:
    stage = a_stage(records=1)
    await stage.begin(a_record(0))
    waiting = await started(stage.runner.submit(a_record(1)))
    await stage.runner.on_revoked([FIRST], 0)
    await asyncio.wait_for(waiting, 5)
    assert [record.offset for record in stage.answers.begun] == [0]


async def test_a_partition_assigned_anew_while_its_revoke_waits_is_kept() -> None:
    stage = a_stage()
    record = a_record(0)
    await stage.begin(record)
    revoke = await started(stage.runner.on_revoked([FIRST], 0.02))
    stage.runner.on_assigned([FIRST], generation=2)
    await asyncio.wait_for(revoke, 5)
    await stage.begin(a_record(0, generation=2))
    assert stage.runner.partitions == 2


async def test_records_of_an_older_generation_that_still_wait_are_not_handed_back() -> None:
    stage = a_stage(linger_seconds=0.02)
    await stage.runner.submit(a_record(5))
    stage.runner.on_assigned([FIRST], generation=2)
    await stage.runner.on_revoked([FIRST], 0)
    await until(lambda: len(stage.answers.begun) == 1)
    await stage.finish(stage.answers.begun[0])
    assert (stage.runner.in_flight, stage.runner.late_completions) == (0, 1)


async def test_a_drain_finishes_commits_and_cancels_what_is_left() -> None:
    stage = a_stage(batch_records=1)
    done, stuck = a_record(0, partition=0), a_record(0, partition=1)
    await stage.begin(done, stuck)
    drain = await started(stage.runner.drain(0.05))
    await stage.finish(done)
    await asyncio.wait_for(drain, 5)
    assert stage.commits.positions == {FIRST: 1}
    assert stage.answers.cancelled == 1
    assert stage.runner.partitions == 0
    assert stage.crashes == []


async def test_nothing_is_taken_after_a_drain() -> None:
    stage = a_stage()
    await stage.runner.drain(1)
    await stage.runner.submit(a_record(0))
    assert stage.runner.in_flight == 0


async def test_a_bug_in_answering_is_told_once_and_commits_nothing() -> None:
    stage = a_stage(batch_records=1)
    stage.answers.failure = LookupError("a bug")
    await stage.begin(a_record(0), a_record(1))
    await until(lambda: stage.crashes != [])
    await turns()
    assert stage.crashes == [stage.answers.failure]
    await stage.runner.drain(0)
    assert stage.commits.calls == []


async def test_there_is_room_until_a_bound_is_reached_and_again_after_something_ended() -> None:
    stage = a_stage(records=2, bytes=1000)
    first, second = a_record(0), a_record(1)
    await stage.begin(first)
    assert stage.runner.has_room
    await stage.begin(second)
    assert not stage.runner.has_room
    await stage.finish(first)
    assert stage.runner.has_room
    await stage.begin(a_record(2, value=b"x" * 2000))
    assert not stage.runner.has_room


async def test_the_next_offset_is_after_the_last_one_taken_whatever_is_finished() -> None:
    stage = a_stage()
    assert stage.runner.next_offset(FIRST) is None
    await stage.begin(a_record(4), a_record(9))
    assert stage.runner.next_offset(FIRST) == 10
    await stage.finish(a_record(4))
    assert (stage.runner.next_offset(FIRST), stage.runner.next_offset(SECOND)) == (10, None)
    stage.runner.on_assigned([FIRST], generation=2)
    assert stage.runner.next_offset(FIRST) is None
    assert stage.runner.next_offset(Partition("elsewhere", 0)) is None
