"""What `state.json` says: which processes make up the stack, and how far it is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from ops.local.home import Home
from ops.local.part import Kind
from ops.local.passwords import write_private

Phase = Literal["starting", "ready", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid alone is given to another process sooner or later; with its birth it names one process for good."""

    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The process, while it lives."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


@dataclass(frozen=True, slots=True)
class PartState:
    name: str
    kind: Kind
    process: ProcessId | None
    address: str
    healthy: bool
    restarts: int
    stop_signal: int
    log: str


@dataclass(frozen=True, slots=True)
class StackState:
    """One moment of the stack. `error` says why it failed, or which part was given up."""

    supervisor: ProcessId
    phase: Phase
    rehearsed: bool
    parts: tuple[PartState, ...] = ()
    error: str | None = None


def identify(pid: int) -> ProcessId | None:
    """The lasting name of the process that has this pid now."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def write_state(home: Home, state: StackState) -> None:
    write_private(home.state, json.dumps(asdict(state), indent=1))


def read_state(home: Home) -> StackState | None:
    """What was last written; None where there is nothing, or nothing we understand."""
    try:
        return _parse(home.state)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parse(path: Path) -> StackState:
    document = json.loads(path.read_text())
    parts = tuple(
        PartState(**part | {"process": ProcessId(**part["process"]) if part["process"] else None})
        for part in document["parts"]
    )
    return StackState(**document | {"supervisor": ProcessId(**document["supervisor"]), "parts": parts})
