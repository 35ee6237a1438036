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

    async def fly(self, key: Key, start: Callable[[], Awaitable[Value]]) -> tuple[Value, bool]:
        """What `start` brings, and whether this caller was the one that flew.

        The flight is a task of its own: a caller that is cancelled leaves it to the others. Raises what `start` raises.
        """
        task = self._flying.get(key)
        leads = task is None
        if task is None:
            task = asyncio.ensure_future(self._run(start))
            self._flying[key] = task
            task.add_done_callback(lambda _: self._flying.pop(key, None))
        else:
            metrics.SHARED_FLIGHTS.inc()
        return await asyncio.shield(task), leads

    @staticmethod
    async def _run(start: Callable[[], Awaitable[Value]]) -> Value:
        return await start()
