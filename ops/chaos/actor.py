"""One process of the stage: started, killed, frozen and restarted by its id, never by a name."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ops.local import processes
from ops.local.part import Part, Stop
from ops.local.ports import may_listen

_RESTART_SECONDS = 0.5

Process = subprocess.Popen[bytes]


class Actor:
    """A part and its process. `wanted` says whether it is restarted when it dies."""

    def __init__(self, part: Part, log: Path, settings: Mapping[str, object] | None = None) -> None:
        self.part = part
        self.log = log
        self.settings = dict(settings or {})
        self.wanted = False
        self.deaths = 0
        self._process: Process | None = None
        self._buried_at = 0.0

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def healthy(self) -> bool:
        process = self._process
        # Another stack may have taken the port since it was chosen; then it is the other's server that is well.
        return (
            process is not None
            and process.poll() is None
            and self.part.is_healthy()
            and may_listen(process.pid, self.part.address)
        )

    def start(self, **settings: object) -> None:
        """Start it, with `settings` (HEADRACE_* in small letters) for this start alone."""
        named = {f"HEADRACE_{name.upper()}": str(value) for name, value in (self.settings | settings).items()}
        command = replace(self.part.command, environment={**self.part.command.environment, **named})
        processes.prepare(command)
        self._process = processes.start(command, self.part.stop, self.log)
        self.wanted = True
        self._buried_at = 0.0

    def kill(self) -> None:
        """SIGKILL, to its whole process group."""
        if self._process is not None:
            processes.kill_session(self._process.pid)
            self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM, or what this part takes for it; it stays down."""
        self.wanted = False
        self.resume()
        self._signal(self.part.stop.signal)

    def end(self) -> None:
        """Asked to end, killed when it outstays its grace; it stays down."""
        self.ask_to_end()
        if self._process is not None:
            processes.end([(self._process, Stop(self.part.stop.signal, self.part.stop.grace_seconds))])
        self._process = None

    def tend(self, on_death: Callable[["Actor"], None]) -> None:
        """Restart it, as the supervisor would, half a second after it died."""
        if not self.wanted or self.alive:
            return
        if self._buried_at == 0.0:
            self._buried_at = time.monotonic()
            self.deaths += 1
            on_death(self)
        elif time.monotonic() - self._buried_at > _RESTART_SECONDS:
            self.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
