"""Cancelling tasks so that they end."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_SECONDS: Final = 2.0
"""Time to clean up in; a task that still runs then is cancelled once more."""


async def cancel_and_wait(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    """Return when all have ended, in whatever way. Raises nothing of theirs.

    Asking once is not enough: `asyncio.wait_for` before Python 3.12 drops a cancellation that meets the end of what it
    waits for, and redis-py writes every command within one.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
