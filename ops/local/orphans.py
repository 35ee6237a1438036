"""Ending processes that are not our children: what a killed supervisor left running, or a supervisor."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence

from ops.local.home import Home
from ops.local.state import ProcessId, read_state
from ops.local.supervisor import STOP_ORDER

_GRACE_SECONDS = 25.0
_KILLED_SECONDS = 5.0
_POLL_SECONDS = 0.03


def end_orphans(home: Home) -> int:
    """End every process the last state names and that still lives; how many there were.

    Only for who holds the home.
    """
    state = read_state(home)
    parts = state.parts if state else ()
    ended = 0
    for kinds in STOP_ORDER:
        left = [
            (part.process, part.stop_signal)
            for part in parts
            if part.kind in kinds and part.process and part.process.find()
        ]
        ended += len(left)
        for process, number in left:
            send(process, number)
        for process, _ in left:
            if not wait_for_end([process], _GRACE_SECONDS):
                send(process, signal.SIGKILL)
        wait_for_end([process for process, _ in left], _KILLED_SECONDS)
    return ended


def send(process: ProcessId, number: int) -> None:
    """Signal the process if it still lives; never one that has inherited its pid."""
    with contextlib.suppress(ProcessLookupError):
        if process.find():
            os.kill(process.pid, number)


def wait_for_end(processes: Sequence[ProcessId], within_seconds: float) -> bool:
    """Whether all ended in time. One that nobody has reaped yet counts as ended."""
    deadline = time.monotonic() + within_seconds
    while any(process.find() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
