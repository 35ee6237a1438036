"""One run of the stack in this process, from taking the home to the last part's end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from ops.local.home import Home
from ops.local.orphans import end_orphans
from ops.local.plan import Plan
from ops.local.state import StackState, identify, write_state
from ops.local.supervisor import Report, StackFailedError, Supervisor

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_stack(home: Home, plan_of: Callable[[Home], Plan], report: Report) -> None:
    """Run until a signal ends it. Call it from the main thread.

    Raises HomeTakenError when a stack runs here already, StackFailedError when it does not come up.
    """
    with home.taken():
        home.make()
        end_orphans(home)
        # Before the plan is made: its settings must not come from the endpoints of a run that is gone.
        home.endpoints.unlink(missing_ok=True)
        home.state.unlink(missing_ok=True)
        _supervise(home, plan_of(home), report)


def _supervise(home: Home, plan: Plan, report: Report) -> None:
    me = identify(os.getpid())
    if me is None:
        raise RuntimeError("The process table does not show this process. Run: headrace doctor")
    last = StackState(me, "starting", plan.rehearsed)

    def remember(state: StackState) -> None:
        nonlocal last
        last = state
        report(state)

    supervisor = Supervisor(plan, home, me, remember)
    try:
        with _signals_to(supervisor.stop):
            supervisor.run()
    except StackFailedError as error:
        failed = replace(last, phase="failed", parts=(), error=str(error))
        write_state(home, failed)
        raise
    home.state.unlink(missing_ok=True)


@contextmanager
def _signals_to(stop: Callable[[], None]) -> Iterator[None]:
    def ask(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, ask) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
