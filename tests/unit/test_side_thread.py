"""Blocking calls beside the loop."""

import asyncio
import threading
from functools import partial

import pytest

from streams.side_thread import SideThread


async def test_calls_are_carried_out_in_their_order_in_one_other_thread() -> None:
    side, seen = SideThread("test"), list[tuple[int, int]]()

    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))

    await asyncio.gather(*(side.run(partial(note, number)) for number in range(20)))
    assert [n for n, _ in seen] == list(range(20))
    assert len({ident for _, ident in seen} - {threading.get_ident()}) == 1


async def test_an_error_reaches_who_asked_and_the_next_call_goes_on() -> None:
    side = SideThread("test")
    with pytest.raises(ZeroDivisionError):
        await side.run(lambda: 1 // 0)
    assert await side.run(lambda: 5) == 5


async def test_the_loop_goes_on_while_a_call_blocks() -> None:
    side, gate = SideThread("test"), threading.Event()
    blocked = side.run(lambda: gate.wait(30))
    await asyncio.sleep(0)
    assert not blocked.done()
    gate.set()
    assert await blocked


async def test_what_was_asked_before_leaving_is_still_carried_out() -> None:
    side = SideThread("test")
    asked = side.run(lambda: "done")
    side.leave()
    assert await asked == "done"
    assert side._thread is not None
    await asyncio.to_thread(side._thread.join, 30)
    assert not side._thread.is_alive()


async def test_a_cancelled_call_is_carried_out_all_the_same() -> None:
    side, gate, carried_out = SideThread("test"), threading.Event(), threading.Event()

    def call() -> None:
        gate.wait(30)
        carried_out.set()

    asked = side.run(call)
    asked.cancel()
    gate.set()
    assert await asyncio.to_thread(carried_out.wait, 30)
