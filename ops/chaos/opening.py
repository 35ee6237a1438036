"""A stage comes up in its order, and leaves without a trace."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.chaos.stage import SERVERS, UP_SECONDS, PlanChange, Stage, StageError
from ops.local import processes
from ops.local.home import Home
from ops.local.part import Part
from ops.local.passwords import passwords_in
from ops.local.plan import Errand, Plan
from ops.local.spare import spare_folder
from ops.local.stack import whole_stack
from ops.local.upkeep import end_of
from streams.settings import Settings

_ATTEMPTS: Final = 3
_TICK_SECONDS: Final = 0.05


class ServerLostError(StageError):
    """A server ended while it came up, most likely because its port was taken meanwhile: worth another attempt."""


def _as_usual(_home: Home, plan: Plan) -> Plan:
    return plan


@contextlib.contextmanager
def open_stage(root: Path, workers: int = 2, plan: PlanChange = _as_usual) -> Iterator[Stage]:
    """A stage in the folder `root`, up and well; down again with the block, and removed but for logs to be kept.

    `plan` makes another stack of the usual one. Call it from the main thread.
    """
    stage = _stage_up(root, workers, plan)
    try:
        yield stage
    finally:
        _leave(stage)


def _stage_up(root: Path, workers: int, plan: PlanChange) -> Stage:
    for attempt in range(1, _ATTEMPTS + 1):
        home = Home.at(root / f"stage-{attempt}")
        home.make()
        mine = {"model_url": None, "model_key": None, "model_endpoints": (), "drain_seconds": 5.0, "home": home.root}
        stage = Stage(home, plan(home, whole_stack(home, Settings().model_copy(update=mine), workers)))
        try:
            _Opening(stage).run()
        except BaseException as error:
            last = attempt == _ATTEMPTS or not isinstance(error, ServerLostError)
            stage.keep_logs = last and isinstance(error, StageError)
            _leave(stage)
            if last:
                raise
        else:
            return stage
    raise AssertionError


class _Opening:
    """Starts each part and errand of a stage as soon as what it needs is well or done."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._errands: dict[str, subprocess.Popen[bytes]] = {}
        self._begun: set[str] = set()

    def run(self) -> None:
        """Raises StageError."""
        end = time.monotonic() + UP_SECONDS
        try:
            while waiting := [step for step in self._stage.steps if not self._is_done(step.work.name)]:
                self._check()
                if time.monotonic() > end:
                    raise self._failed([step.work.name for step in waiting])
                for step in waiting:
                    if step.work.name not in self._begun and all(map(self._is_done, step.needs)):
                        self._begin(step.work)
                time.sleep(_TICK_SECONDS)
        finally:
            processes.end([(each, processes.AT_ONCE) for each in self._errands.values() if each.poll() is None])

    def _begin(self, work: Part | Errand) -> None:
        self._begun.add(work.name)
        if isinstance(work, Errand):
            log = self._stage.home.log(work.name)
            self._errands[work.name] = processes.start(work.command, processes.AT_ONCE, log)
        else:
            self._stage.actor(work.name).start()

    def _is_done(self, name: str) -> bool:
        if name in self._errands:
            return self._errands[name].poll() == 0
        return name in self._begun and self._stage.actor(name).healthy

    def _check(self) -> None:
        ended = [name for name in self._begun - self._errands.keys() if not self._stage.actor(name).alive]
        if lost := [name for name in ended if name in SERVERS]:
            raise ServerLostError(f"{', '.join(lost)} did not come up; logs: {self._stage.home.logs}")
        if ended := [*ended, *(name for name, errand in self._errands.items() if errand.poll())]:
            raise self._failed(ended)

    def _failed(self, names: list[str]) -> StageError:
        said = end_of(self._stage.home.log(names[0]), lines=3)
        told = f"the stage did not come up: {', '.join(sorted(names))}; logs: {self._stage.home.logs}"
        return StageError(f"{told}; {names[0]} said last: {said}")


def _leave(stage: Stage) -> None:
    stage.go_down()
    shutil.rmtree(spare_folder(passwords_in(stage.home.root).stack), ignore_errors=True)
    shutil.rmtree(stage.home.data if stage.keep_logs else stage.home.root, ignore_errors=True)
    with contextlib.suppress(OSError):
        stage.home.root.parent.rmdir()  # empty, unless logs are kept
