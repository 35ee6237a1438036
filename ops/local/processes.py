"""Starting and ending one process: in a session of its own, tied to the life of the one that started it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ops.local.part import Command, Stop

_SET_PARENT_DEATH_SIGNAL = 1
_POLL_SECONDS = 0.03

AT_ONCE = Stop(grace_seconds=3)
"""For a process that has nothing to finish."""

Child = tuple[subprocess.Popen[bytes], Stop]


def start(command: Command, stop: Stop, log: Path) -> subprocess.Popen[bytes]:
    """Start a process, its output appended to `log`.

    Call it from the main thread only: the kernel ties the child's life to the *thread* that started it.
    """
    account = command.account
    with log.open("ab") as output:
        return subprocess.Popen(
            command.argv,
            # Handed on as it is; what it means is read in `streams.settings` alone.
            env={**os.environ, **command.environment},
            cwd="/" if account else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=() if account else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal reaches us alone; we end the parts in their order.
            start_new_session=True,
            preexec_fn=_end_with_parent(stop.signal),  # noqa: PLW1509 - we start from one thread
        )


def prepare(command: Command) -> None:
    if command.prepare is not None:
        command.prepare()


def end(children: Iterable[Child], hurry: Callable[[], bool] = lambda: False) -> None:
    """Ask all to end, then wait for each; one that outstays its grace is killed, as all are in a hurry."""
    children = list(children)
    for process, stop in children:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(stop.signal)
    asked_at = time.monotonic()
    for process, stop in children:
        while process.poll() is None and time.monotonic() - asked_at < stop.grace_seconds and not hurry():
            time.sleep(_POLL_SECONDS)
        kill_session(process.pid)
        process.wait()


def kill_session(leader: int) -> None:
    """Kill what is left of the process group that `leader` leads or led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _end_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def tie() -> None:
        library.prctl(_SET_PARENT_DEATH_SIGNAL, death_signal)
        if os.getppid() != parent:
            os._exit(1)

    return tie
