"""A supervisor that outlives the command that started it, and its end."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence

from ops.local.home import Home, HomeTakenError
from ops.local.orphans import end_orphans, send, wait_for_end
from ops.local.state import ProcessId, StackState, read_state
from ops.local.supervisor import Report, StackFailedError
from ops.local.upkeep import end_of

_POLL_SECONDS = 0.1
# A worker's drain, the sinks' and the servers' ends, one after another.
_DOWN_SECONDS = 90.0

SUPERVISOR = "supervisor"


def start_detached(home: Home, argv: Sequence[str], report: Report) -> None:
    """Start a supervisor in the background and wait until it is ready, or raise StackFailedError."""
    home.make()
    log = home.log(SUPERVISOR)
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv,
            env={**os.environ, "HEADRACE_HOME": str(home.root)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _follow(home, child, report)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait(_DOWN_SECONDS)
        raise


def _follow(home: Home, child: subprocess.Popen[bytes], report: Report) -> None:
    last: StackState | None = None
    while last is None or last.phase != "ready":
        ended = child.poll() is not None
        state = read_state(home)
        if state is not None and state.supervisor.pid == child.pid:
            if state != last:
                report(state)
            last = state
        if ended:
            said = end_of(home.log(SUPERVISOR), 30)
            raise StackFailedError(last.error if last and last.error else f"The supervisor ended. It said:\n{said}")
        time.sleep(_POLL_SECONDS)


def take_down(home: Home) -> bool:
    """End whatever runs in this home: by its supervisor if there is one, else one by one. Whether anything did."""
    if not home.root.is_dir():
        return False
    state = read_state(home)
    supervisor = state.supervisor if state and state.supervisor.find() else None
    if supervisor is not None:
        _end_supervisor(supervisor)
    try:
        with home.taken():
            orphans = end_orphans(home)
            home.endpoints.unlink(missing_ok=True)
            home.state.unlink(missing_ok=True)
    except HomeTakenError as error:
        raise StackFailedError(
            f"A supervisor in {home.root} is just starting or does not end. Try again; see: headrace logs {SUPERVISOR}"
        ) from error
    return supervisor is not None or orphans > 0


def _end_supervisor(supervisor: ProcessId) -> None:
    # The second one tells it to hurry.
    for number, patience_seconds in ((signal.SIGTERM, _DOWN_SECONDS), (signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        send(supervisor, number)
        if wait_for_end([supervisor], patience_seconds):
            return
