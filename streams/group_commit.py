"""Many callers, one round trip: what is asked within a short window goes out together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Item, Answer]):
    """Joins calls of `submit` into calls of `run`, one under way at a time, the next gathering meanwhile.

    Goes at once when nothing was under way for `spacing_seconds`, else that long after the previous start, or as soon
    as `most_items` wait. An error of `run` reaches every caller of that round trip. An answer whose caller was
    cancelled goes to `unheard`. Belongs to one event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        spacing_seconds: float = 0.003,
        most_items: int = 256,
        unheard: Callable[[Item, Answer], None] | None = None,
    ) -> None:
        self._run = run
        self._spacing_seconds = spacing_seconds
        self._most_items = most_items
        self._unheard = unheard
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_start = 0.0

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to `items`, in their order."""
        if not items:
            return []
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        self._schedule()
        try:
            return await future
        except asyncio.CancelledError:
            # Cancelled after the answer came and before this task saw it.
            if future.done() and not future.cancelled() and future.exception() is None:
                self._pass_on(items, future.result())
            raise

    async def drained(self) -> None:
        """Return when nothing waits and nothing is under way."""
        while self._waiting or self._flush is not None:
            if self._flush is None:
                self._start()
            elif not self._flush.done():
                await asyncio.wait({self._flush})
            else:
                await asyncio.sleep(0)

    def _schedule(self) -> None:
        if self._flush is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_start or sum(len(items) for items, _ in self._waiting) >= self._most_items:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_at(self._next_start, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A task begins on the next turn of the loop: all who ask on this turn are in it.
        self._flush = asyncio.get_running_loop().create_task(self._flush_once())
        self._flush.add_done_callback(self._flushed)

    def _flushed(self, flush: asyncio.Task[None]) -> None:
        self._flush = None
        if not flush.cancelled():
            self._schedule()

    async def _flush_once(self) -> None:
        self._next_start = asyncio.get_running_loop().time() + self._spacing_seconds
        group = self._taken()
        try:
            answers = await self._run([item for items, _ in group for item in items])
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers' to judge
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self._hand_out(group, answers)

    def _taken(self) -> list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]]:
        count = taken = 0
        for items, _ in self._waiting:
            if taken and count + len(items) > self._most_items:
                break
            count, taken = count + len(items), taken + 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return [(items, future) for items, future in group if not future.done()]

    def _hand_out(
        self, group: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]], answers: Sequence[Answer]
    ) -> None:
        start = 0
        for items, future in group:
            part = list(answers[start : start + len(items)])
            start += len(items)
            if future.done():
                self._pass_on(items, part)
            else:
                future.set_result(part)

    def _pass_on(self, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        if self._unheard is not None:
            for item, answer in zip(items, answers, strict=True):
                self._unheard(item, answer)
