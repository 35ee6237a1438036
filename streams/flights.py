"""Single flight within one worker: identical questions at one time make one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from streams import metrics

Key = TypeVar("Key")
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """The first to ask for a key flies; the others wait for what it brings."""

    def __init__(self) -> None:
        self._flying: dict[Key, asyncio.Task[Value]] = {}

    async def fly(
        self, key: Key, start: Callable[[], Awaitable[Value]], patience_seconds: float | None = None
    ) -> tuple[Value, bool]:
        """What `start` brings, and whether this caller was the one that flew.

        The flight is a task of its own: a caller that is cancelled, or waits for another's longer than its patience,
        leaves it to the others. Raises what `start` raises, and TimeoutError where patience ends.
        """
        task = self._flying.get(key)
        if task is not None:
            metrics.SHARED_FLIGHTS.inc()
            async with asyncio.timeout(patience_seconds):
                return await asyncio.shield(task), False
        task = asyncio.ensure_future(self._run(start))
        self._flying[key] = task
        task.add_done_callback(lambda _: self._flying.pop(key, None))
        return await asyncio.shield(task), True

    @staticmethod
    async def _run(start: Callable[[], Awaitable[Value]]) -> Value:
        return await start()
