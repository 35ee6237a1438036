"""Ending tasks: also those that a library keeps from hearing of it."""

import asyncio

import pytest

from streams import cancelling
from streams.cancelling import cancel_and_wait
from tests.answers_by_hand import turns


async def test_a_task_whose_cancellation_was_dropped_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "_AGAIN_SECONDS", 0.01)
    dropped: list[str] = []

    async def work() -> None:
        while len(dropped) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # as `asyncio.wait_for` does where what it waits for has just ended
                dropped.append("once more")
        await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await turns()
    await cancel_and_wait([task])
    assert task.cancelled()
    assert len(dropped) == 2


async def test_cleaning_up_is_waited_for_and_what_has_failed_is_nobodys_error() -> None:
    cleaned: list[str] = []

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns()
            cleaned.append("up")

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError

    async def has_ended() -> None: ...

    tasks = [asyncio.ensure_future(work()) for work in (cleans_up, fails, has_ended)]
    await turns()
    await cancel_and_wait(tasks)
    assert all(task.done() for task in tasks)
    assert cleaned == ["up"]
    assert isinstance(tasks[1].exception(), LookupError)
