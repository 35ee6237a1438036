"""What a killed supervisor left running."""

import contextlib

import psutil

from ops.local.home import Home
from ops.local.state import read_state
from ops.local.supervisor import STOP_ORDER

_GRACE_SECONDS = 25.0


def end_orphans(home: Home) -> int:
    """End every process the last state names and that still lives; how many there were.

    Only for who holds the home, or knows that nobody does.
    """
    state = read_state(home)
    ended = 0
    for kinds in STOP_ORDER if state else ():
        left = [
            (process, part.stop_signal)
            for part in (state.parts if state else ())
            if part.kind in kinds and part.process and (process := part.process.find())
        ]
        ended += len(left)
        _end(left)
    return ended


def _end(left: list[tuple[psutil.Process, int]]) -> None:
    for process, signal in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal)
    _, stubborn = psutil.wait_procs([process for process, _ in left], timeout=_GRACE_SECONDS)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
