"""Going carefully after a silent death: which record is found guilty, and that no other ever is."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.record import Record
from schemas.topics import REQUESTS
from streams.admission.deaths import Place
from streams.admission.in_hand import Left
from streams.admission.memory_deaths import MemoryDeathBook
from streams.admission.memory_in_hand import MemoryHands
from streams.caution import Caution
from streams.offsets import Partition
from streams.runner import Release
from tests.answers_by_hand import AnswersByHand, until
from tests.builders import a_record

FIRST, SECOND = Partition(REQUESTS, 0), Partition(REQUESTS, 1)
CONDEMNED_AFTER = 3


def _released(record: Record) -> None:
    del record


@dataclass
class Town:
    """What survives the workers: the books, and which records have been answered."""

    hands: MemoryHands = field(default_factory=MemoryHands)
    deaths: MemoryDeathBook = field(default_factory=MemoryDeathBook)
    answered: Counter[Record] = field(default_factory=Counter)
    condemned: set[Place] = field(default_factory=set)
    workers: int = 0

    def learn(self, deaths: object) -> None:
        assert isinstance(deaths, dict)
        self.condemned |= {place for place, count in deaths.items() if count >= CONDEMNED_AFTER}

    def worker(self, answer: Callable[[Sequence[Record], Release], object], patience_seconds: float = 60) -> Caution:
        self.workers += 1
        name = f"worker-{self.workers}"
        return Caution(answer, self.hands, self.deaths, self.learn, name, patience_seconds)  # type: ignore[arg-type]

    async def live(self, batches: Sequence[Sequence[Record]], kills: Callable[[Record], bool]) -> bool:
        """One worker's life over everything not answered yet; whether it survived."""

        died = asyncio.Event()

        async def answer(records: Sequence[Record], release: Release) -> None:
            await asyncio.sleep(0)
            if any(kills(record) and Place.of(record) not in self.condemned for record in records):
                died.set()
            if died.is_set():  # as under SIGKILL: nothing more is done, nothing more is written
                await asyncio.Event().wait()
            self.answered.update(records)
            for record in records:
                release(record)

        worker = self.worker(answer)
        await worker.arrived([FIRST, SECOND])
        left = [[record for record in batch if not self.answered[record]] for batch in batches]
        work = asyncio.gather(*(worker.answer(batch, _released) for batch in left if batch))
        death = asyncio.ensure_future(died.wait())
        waited: list[asyncio.Future[object]] = [work, death]  # type: ignore[list-item]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for task in waited:
            task.cancel()
        await asyncio.gather(work, death, return_exceptions=True)
        if not died.is_set():
            await worker.left([FIRST, SECOND])
        return not died.is_set()


def _batches(records: int, size: int) -> list[list[Record]]:
    """Records of two partitions by turns, cut into batches."""
    every = [a_record(number // 2, partition=number % 2) for number in range(records)]
    return [every[start : start + size] for start in range(0, records, size)]


@settings(max_examples=60, deadline=None)
@given(records=st.integers(1, 900), size=st.integers(1, 256), data=st.data())
async def test_the_record_that_kills_is_condemned_and_no_other(records: int, size: int, data: st.DataObject) -> None:
    town, batches = Town(), _batches(records, size)
    every = [record for batch in batches for record in batch]
    killer = data.draw(st.sampled_from(every))
    lives = 1
    while not await town.live(batches, lambda record: record is killer):
        lives += 1
        assert lives < 12
    assert town.condemned == {Place.of(killer)}
    assert town.answered.keys() == set(every)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 256), first=st.integers(0, 299), second=st.integers(0, 299))
async def test_two_records_that_kill_are_both_found(size: int, first: int, second: int) -> None:
    town, batches = Town(), _batches(300, size)
    every = [record for batch in batches for record in batch]
    killers = {every[first], every[second]}
    lives = 1
    while not await town.live(batches, lambda record: record in killers):
        lives += 1
        assert lives < 24
    assert town.condemned == {Place.of(killer) for killer in killers}
    assert town.answered.keys() == set(every)


async def test_a_storm_of_kills_in_which_each_worker_gets_something_done_condemns_nobody() -> None:
    town = Town()
    batch = [a_record(number) for number in range(40)]
    for _ in range(20):
        answers = AnswersByHand()
        worker = town.worker(answers.answer)
        await worker.arrived([FIRST])
        task = asyncio.ensure_future(worker.answer(batch, _released))
        await until(lambda answers=answers: bool(answers.begun))  # type: ignore[misc]
        if len(answers.begun) == 1:
            await answers.finish(batch[0])
            batch = batch[1:]
            await until(lambda answers=answers: len(answers.begun) > 1)  # type: ignore[misc]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert max((await town.deaths.read()).values()) == 1
    assert town.condemned == set()


async def test_after_a_goodbye_records_go_on_as_they_came() -> None:
    town, answers = Town(), AnswersByHand()
    before = town.worker(answers.answer)
    await before.arrived([FIRST])
    await before.left([FIRST])
    worker = town.worker(answers.answer)
    await worker.arrived([FIRST])
    task = asyncio.ensure_future(worker.answer([a_record(number) for number in range(100)], _released))
    await until(lambda: len(answers.begun) == 100)
    await answers.finish(*answers.begun)
    await task
    assert [len(batch) for batch in answers.batches] == [100]
    assert (await town.hands.sign_in("last", [FIRST])).in_hand == {}


async def test_after_a_death_steps_begin_small_and_grow() -> None:
    town, answers = Town(), AnswersByHand()
    await town.worker(answers.answer).arrived([FIRST])
    worker = town.worker(answers.answer)
    await worker.arrived([FIRST])
    batch = [a_record(number) for number in range(200)]
    task = asyncio.ensure_future(worker.answer(batch, _released))
    for begun in (16, 48, 112, 200):
        await until(lambda begun=begun: len(answers.begun) == begun)  # type: ignore[misc]
        await answers.finish(*answers.unfinished)
    await task
    assert answers.begun == batch


async def test_what_comes_in_ones_while_a_step_is_under_way_shares_the_next_step() -> None:
    town, answers = Town(), AnswersByHand()
    await town.worker(answers.answer).arrived([FIRST])
    worker = town.worker(answers.answer)
    await worker.arrived([FIRST])
    records = [a_record(number) for number in range(31)]
    tasks = [asyncio.ensure_future(worker.answer([record], _released)) for record in records]
    await until(lambda: len(answers.begun) == 1)
    await answers.finish(*answers.unfinished)
    await until(lambda: len(answers.begun) == 31)
    await answers.finish(*answers.unfinished)
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in answers.batches] == [1, 30]


async def test_a_bug_met_in_a_step_ends_every_batch_that_is_in_it() -> None:
    town, answers = Town(), AnswersByHand()
    await town.worker(answers.answer).arrived([FIRST])
    worker = town.worker(answers.answer)
    await worker.arrived([FIRST])
    tasks = [asyncio.ensure_future(worker.answer([a_record(number)], _released)) for number in range(3)]
    await until(lambda: len(answers.begun) == 1)
    answers.failure = RuntimeError("a bug")
    await answers.finish(*answers.unfinished)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["CancelledError", "NoneType", "RuntimeError"]


async def test_a_step_that_takes_too_long_lets_the_next_begin_and_is_no_longer_alone() -> None:
    town, answers = Town(), AnswersByHand()
    await town.worker(answers.answer).arrived([FIRST])
    worker = town.worker(answers.answer, patience_seconds=0.01)
    await worker.arrived([FIRST])
    slow, quick = a_record(0), a_record(1)
    tasks = [asyncio.ensure_future(worker.answer([record], _released)) for record in (slow, quick)]
    await until(lambda: answers.begun == [slow, quick])
    assert (await town.hands.sign_in("next", [FIRST])).in_hand == {Place.of(slow): 2, Place.of(quick): 2}
    await answers.finish(slow, quick)
    await asyncio.gather(*tasks)


async def test_what_is_in_hand_when_a_partition_leaves_is_crossed_out() -> None:
    town, answers = Town(), AnswersByHand()
    await town.worker(answers.answer).arrived([FIRST, SECOND])
    worker = town.worker(answers.answer)
    await worker.arrived([FIRST, SECOND])
    leaving, staying = a_record(0, partition=0), a_record(0, partition=1)
    task = asyncio.ensure_future(worker.answer([leaving, staying], _released))
    await until(lambda: len(answers.begun) == 2)
    await worker.left([FIRST])
    left = await town.hands.sign_in("heir", [FIRST, SECOND])
    assert left == Left(frozenset({SECOND}), {Place.of(staying): 2})
    # What the heir takes in hand there is not crossed out by the one that left.
    await town.hands.hold([Place.of(leaving)], 1)
    await answers.finish(leaving, staying)
    await task
    assert (await town.hands.sign_in("last", [FIRST])).in_hand == {Place.of(leaving): 1}


async def test_a_death_that_was_counted_is_not_counted_again_by_the_next_worker() -> None:
    town = Town()
    await town.hands.sign_in("dead", [FIRST])
    await town.hands.hold([Place.of(a_record(7))], together=1)
    for _ in range(3):
        await town.worker(AnswersByHand().answer).arrived([FIRST])
    assert await town.deaths.read() == {Place.of(a_record(7)): 1}


async def test_other_work_of_the_same_process_keeps_a_record_from_being_alone() -> None:
    town, answers = Town(), AnswersByHand()
    worker = town.worker(answers.answer)
    await worker.arrived([SECOND])
    unwatched = asyncio.ensure_future(worker.answer([a_record(0, partition=1)], _released))
    await until(lambda: len(answers.begun) == 1)
    await town.hands.sign_in("dead", [FIRST])
    await worker.arrived([FIRST])
    watched = asyncio.ensure_future(worker.answer([a_record(0)], _released))
    await until(lambda: len(answers.begun) == 2)
    assert (await town.hands.sign_in("heir", [FIRST])).in_hand == {Place.of(a_record(0)): 2}
    await answers.finish(*answers.begun)
    await asyncio.gather(unwatched, watched)


@pytest.mark.parametrize("records", [2000])
async def test_caution_ends_once_as_many_records_were_survived_as_a_worker_has_in_hand(records: int) -> None:
    town, batches = Town(), _batches(records, 256)
    await town.hands.sign_in("dead", [FIRST])
    sizes: list[int] = []

    async def answer(batch: Sequence[Record], release: Release) -> None:
        sizes.append(len(batch))
        for record in batch:
            release(record)

    worker = town.worker(answer)
    await worker.arrived([FIRST, SECOND])
    for batch in batches:
        await worker.answer(batch, _released)
    sizes.clear()
    await worker.answer(batches[0] * 2, _released)
    assert sizes == [512]
