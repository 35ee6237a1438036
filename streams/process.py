"""What a long-running process asks of its interpreter and its operating system."""

import asyncio
import gc
import os
import resource
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from streams.logs import logger_named

log = logger_named("process")

Answer = TypeVar("Answer")

_TURN_SECONDS: Final = 0.0005


def run_on_a_fast_loop(main: Coroutine[Any, Any, Answer]) -> Answer:
    """`asyncio.run` on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # it is not made for Windows
        return asyncio.run(main)
    return uvloop.run(main)


def settle_memory(step_objects: int = 100_000) -> None:
    """Keep the collector off what lives as long as the process: a full pass costs more than thousands of records.

    Call it when everything is built. Later garbage in cycles is still collected, each time that so many objects more
    are alive; a step that the usual work in hand does not fill costs that work nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(step_objects, 50, 100)


def take_short_turns() -> None:
    """Let a thread that has waited for a server go on soon: the usual 5 ms a time halve a writer's rate."""
    sys.setswitchinterval(_TURN_SECONDS)


def allow_many_connections() -> None:
    """A call in flight holds a connection; the usual soft limit of 1,024 files is less than a worker's calls."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cut_off_after(seconds: float) -> None:
    """End this process with 1 if it still lives after `seconds`, whatever it waits for.

    A client that waits for a broker while it is being stopped waits without end; the process would hold its
    partitions and be no use to anyone, and nobody starts another.
    """
    timer = threading.Timer(seconds, _cut_off)
    timer.daemon = True
    timer.start()


def _cut_off() -> None:
    log.error("end_outstayed", next_step="the process is cut off; what was in flight is redelivered")
    os._exit(1)
