"""Work beside the answering: what ends there ends the worker, and nothing ends silently."""

import asyncio

import pytest

from schemas.record import Record
from streams.admission.deaths import Place
from streams.admission.memory_deaths import MemoryDeathBook
from streams.answering import RecordCrashError
from streams.background import Background, BackgroundEndedError
from streams.worker_process import WorkerEnd, bury
from tests.answers_by_hand import turns
from tests.builders import a_record


async def for_ever() -> None:
    await asyncio.Event().wait()


async def breaks() -> None:
    await asyncio.sleep(0)
    raise LookupError


async def returns() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(("work", "error"), [(breaks, LookupError), (returns, BackgroundEndedError)])
async def test_work_that_ends_by_itself_ends_the_worker_as_a_failure(work: object, error: type[Exception]) -> None:
    end = WorkerEnd()
    background = Background(end.on_crash)
    background.start(for_ever)
    background.start(work)  # type: ignore[arg-type]
    await asyncio.wait_for(end.failed.wait(), 5)
    end.by_signal.set()
    assert ([type(each) for each in end.failures], end.exit_code) == ([error], 1)
    await background.aclose()


async def test_closing_ends_what_runs_and_is_no_failure() -> None:
    end = WorkerEnd()
    background = Background(end.on_crash)
    ended = asyncio.Event()

    async def cleans_up() -> None:
        try:
            await for_ever()
        finally:
            ended.set()

    background.start(cleans_up)
    await turns()
    await background.aclose()
    end.by_signal.set()
    assert ended.is_set()
    assert (end.failures, end.exit_code) == ([], 0)


async def test_a_worker_that_ends_without_a_signal_has_failed() -> None:
    assert WorkerEnd().exit_code == 1


async def test_what_a_worker_dies_at_is_written_down_and_other_failures_blame_no_record() -> None:
    deaths = MemoryDeathBook()
    record: Record = a_record(7)
    await bury([RecordCrashError(record), LookupError(), RecordCrashError(record)], deaths)
    assert await deaths.read() == {Place.of(record): 2}
