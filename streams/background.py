"""What runs beside the answering for as long as the worker does: heartbeats, the board of pauses."""

import asyncio
from collections.abc import Callable, Coroutine

from streams.cancelling import cancel_and_wait
from streams.logs import logger_named

log = logger_named("background")

Work = Callable[[], Coroutine[None, None, None]]


class BackgroundEndedError(RuntimeError):
    """Work that was to go on has returned: a bug, which ends the worker as any other would."""


class Background:
    """Runs each until `aclose`; one that ends before is told to `on_crash`, as the worker cannot do without it."""

    def __init__(self, on_crash: Callable[[BaseException], None]) -> None:
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Work) -> None:
        task = asyncio.get_running_loop().create_task(work(), name=getattr(work, "__qualname__", repr(work)))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """Cancel what runs and wait for it."""
        await cancel_and_wait(self._tasks)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception() or BackgroundEndedError(f"{task.get_name()} has returned")
        log.error("background_ended", task=task.get_name(), error_type=type(error).__name__, exc_info=error)
        self._on_crash(error)
