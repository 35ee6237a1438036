"""Brings a plan up, keeps it running, takes it down: from one thread, because children are tied to it."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ops.local import processes
from ops.local.home import Home
from ops.local.part import Kind
from ops.local.passwords import write_private
from ops.local.plan import Errand, Plan, Step
from ops.local.state import PartState, Phase, ProcessId, StackState, identify, write_state
from ops.local.upkeep import ErrandUpkeep, PartUpkeep

Report = Callable[[StackState], None]

# Who writes ends before who is written to, so that each can finish what it has in hand.
STOP_ORDER: tuple[tuple[Kind, ...], ...] = (("gateway", "worker"), ("sink", "retries"), ("model", "server"))

_BUSY_POLL_SECONDS = 0.03
_IDLE_POLL_SECONDS = 0.25


class StackFailedError(RuntimeError):
    """The stack could not come up; says which part and what its log ends with."""


class Supervisor:
    """Runs one plan in one home, which the caller holds. `stopping` ends the run; set twice over, in a hurry."""

    def __init__(self, plan: Plan, home: Home, me: ProcessId, report: Report) -> None:
        self.stopping = threading.Event()
        self.in_a_hurry = threading.Event()
        self._plan = plan
        self._home = home
        self._report = report
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="probe")
        self._upkeeps: dict[str, PartUpkeep | ErrandUpkeep] = {}
        self._state = StackState(me, "starting", plan.rehearsed)

    def run(self) -> None:
        """Until `stopping` is set. Raises StackFailedError, all parts ended, when the stack cannot come up."""
        try:
            self._come_up()
            if not self.stopping.is_set():
                write_private(self._home.endpoints, json.dumps(dict(self._plan.endpoints), indent=1) + "\n")
                self._publish("ready")
            while not self.stopping.wait(_IDLE_POLL_SECONDS):
                self._tick()
                self._publish("ready")
        finally:
            self._take_down()

    def stop(self) -> None:
        """Asked once: end in order. Asked again: at once."""
        if self.stopping.is_set():
            self.in_a_hurry.set()
        self.stopping.set()

    def _come_up(self) -> None:
        while not self.stopping.is_set():
            self._tick()
            self._publish("starting")
            failure = self._failure()
            if failure is not None:
                raise StackFailedError(failure)
            if len(self._upkeeps) == len(self._plan.steps) and all(each.done for each in self._upkeeps.values()):
                return
            self.stopping.wait(_BUSY_POLL_SECONDS)

    def _tick(self) -> None:
        for step in self._plan.steps:
            if step.work.name not in self._upkeeps and all(self._is_done(need) for need in step.needs):
                self._upkeeps[step.work.name] = self._upkeep_of(step)
        now = time.monotonic()
        for upkeep in self._upkeeps.values():
            upkeep.tick(now)

    def _is_done(self, name: str) -> bool:
        return name in self._upkeeps and self._upkeeps[name].done

    def _upkeep_of(self, step: Step) -> PartUpkeep | ErrandUpkeep:
        log = self._home.log(step.work.name)
        if isinstance(step.work, Errand):
            return ErrandUpkeep(step.work, log)
        return PartUpkeep(step.work, log, self._pool)

    def _failure(self) -> str | None:
        return next((each.failure for each in self._upkeeps.values() if each.failure is not None), None)

    def _parts(self) -> list[PartUpkeep]:
        return [each for each in self._upkeeps.values() if isinstance(each, PartUpkeep)]

    def _publish(self, phase: Phase) -> None:
        parts = tuple(self._state_of(upkeep) for upkeep in self._parts())
        state = StackState(self._state.supervisor, phase, self._plan.rehearsed, parts, self._failure())
        if state != self._state:
            self._state = state
            write_state(self._home, state)
            self._report(state)

    def _state_of(self, upkeep: PartUpkeep) -> PartState:
        part = upkeep.part
        return PartState(
            name=part.name,
            kind=part.kind,
            process=self._identity_of(upkeep),
            address=part.address,
            healthy=upkeep.healthy,
            restarts=upkeep.restarts,
            stop_signal=part.stop.signal,
            log=str(self._home.log(part.name)),
        )

    def _identity_of(self, upkeep: PartUpkeep) -> ProcessId | None:
        if upkeep.process is None:
            return None
        known = {each.process.pid: each.process for each in self._state.parts if each.process}
        return known.get(upkeep.process.pid) or identify(upkeep.process.pid)

    def _take_down(self) -> None:
        self._home.endpoints.unlink(missing_ok=True)
        self._publish("stopping")
        errands = [each for each in self._upkeeps.values() if isinstance(each, ErrandUpkeep)]
        processes.end([(each.process, processes.AT_ONCE) for each in errands if each.process], self.in_a_hurry.is_set)
        for kinds in STOP_ORDER:
            leaving = [each for each in self._parts() if each.part.kind in kinds and each.process]
            processes.end([(each.process, each.part.stop) for each in leaving if each.process], self.in_a_hurry.is_set)
            for each in leaving:
                each.process, each.healthy = None, False
            self._publish("stopping")
        self._pool.shutdown(wait=False, cancel_futures=True)
