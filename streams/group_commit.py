"""Many callers, one round trip: what is asked within a short window goes out together."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Item, Answer]):
    """Joins calls of `submit` into calls of `run`, one under way at a time, the next gathering meanwhile.

    Goes at once when nothing was under way for `spacing_seconds`, else that long after the previous start, or as soon
    as `most_items` wait. With `ahead`, so many full groups more go out while one is under way. An error of `run`
    reaches every caller of that round trip. An answer whose caller was cancelled goes to `unheard`. Belongs to one
    event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        spacing_seconds: float = 0.003,
        most_items: int = 256,
        unheard: Callable[[Item, Answer], None] | None = None,
        ahead: int = 0,
    ) -> None:
        self._run = run
        self._spacing_seconds = spacing_seconds
        self._most_items = most_items
        self._unheard = unheard
        self._ahead = ahead
        self._gone_ahead: set[asyncio.Task[None]] = set()
        self._is_under_way = False
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]] = []
        self._waiting_items = 0
        self._sending: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self._next_start = 0.0

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to `items`, in their order."""
        if not items:
            return []
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Answer]] = loop.create_future()
        self._waiting.append((items, future))
        self._waiting_items += len(items)
        if self._waiting_items >= self._most_items:
            self._hurried.set()
        if self._sending is None or self._sending.done():
            # A task begins on the next turn of the loop: all who ask on this turn are in its first group.
            self._sending = loop.create_task(self._send())
        self._send_ahead()
        try:
            return await future
        except asyncio.CancelledError:
            # Cancelled after the answer came and before this task saw it.
            if future.done() and not future.cancelled() and future.exception() is None:
                self._pass_on(items, future.result())
            raise

    async def drained(self) -> None:
        """Return when nothing waits and nothing is under way."""
        while self._sending is not None and not self._sending.done():
            self._hurried.set()
            await asyncio.wait({self._sending})
        if self._gone_ahead:
            await asyncio.wait(self._gone_ahead)

    async def _send(self) -> None:
        """Group after group until nobody waits. On a busy loop a turn is long: one task spares two between groups."""
        while self._waiting:
            await self._until_due()
            self._is_under_way = True
            try:
                await self._send_group()
            finally:
                self._is_under_way = False

    def _send_ahead(self) -> None:
        """Another full group, beside the one under way."""
        if self._is_under_way and self._waiting_items >= self._most_items and len(self._gone_ahead) < self._ahead:
            early = asyncio.get_running_loop().create_task(self._send_group())
            self._gone_ahead.add(early)
            early.add_done_callback(self._gone_ahead.discard)

    async def _until_due(self) -> None:
        left = self._next_start - asyncio.get_running_loop().time()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), left)

    async def _send_group(self) -> None:
        self._next_start = asyncio.get_running_loop().time() + self._spacing_seconds
        if not (group := self._taken()):
            return
        self._send_ahead()
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
        self._waiting_items -= count
        if self._waiting_items < self._most_items:
            self._hurried.clear()
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
