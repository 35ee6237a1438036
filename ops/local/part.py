"""What one part of the local stack is: how to start it, how to tell that it is well, how to end it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from signal import SIGTERM, Signals
from typing import Literal

Kind = Literal["server", "model", "worker", "sink", "retries", "gateway"]


@dataclass(frozen=True, slots=True)
class Account:
    """The system account a process runs under when that is not ours."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start. `prepare` runs before it, once per start, and may be repeated."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """How a process is asked to end, and how long it may take before it is killed."""

    signal: Signals = SIGTERM
    grace_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack; `address` carries no password."""

    name: str
    kind: Kind
    command: Command
    address: str
    is_healthy: Callable[[], bool]
    stop: Stop = Stop()


@dataclass(frozen=True, slots=True)
class Server:
    """A part that others connect to by `endpoint`, a connection string that may carry a password."""

    part: Part
    endpoint: str
