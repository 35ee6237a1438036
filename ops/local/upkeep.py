"""One part kept running, one errand run once: both move a little with each tick and never block."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from subprocess import Popen

from ops.local import processes
from ops.local.part import Part
from ops.local.plan import Errand
from ops.local.ports import may_listen

_START_SECONDS = 90.0
_CRASHES_WHILE_STARTING = 3
_CRASHES_PER_MINUTE = 6
_MINUTE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_PROBE_SECONDS = 3.0
_EAGER_PROBE_SECONDS = 0.1


def restart_pause(crashes: Sequence[float], now: float, limit: int) -> float | None:
    """Seconds until the next start, doubling with each crash of the last minute; None once `limit` is reached."""
    recent = sum(1 for crash in crashes if now - crash < _MINUTE_SECONDS)
    return None if recent >= limit else _FIRST_PAUSE_SECONDS * 2.0 ** (recent - 1)


def end_of(log: Path, lines: int = 12) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Probing:
    """Asks for a part's health off the main thread, again and again."""

    def __init__(self, is_healthy: Callable[[], bool], pool: Executor) -> None:
        self._is_healthy = is_healthy
        self._pool = pool
        self._asked: Future[bool] | None = None
        self._due = 0.0

    def answer(self, now: float, every_seconds: float) -> bool | None:
        """The health if an answer has just come in; None while there is nothing new."""
        if self._asked is None:
            if now >= self._due:
                self._asked = self._pool.submit(self._is_healthy)
            return None
        if not self._asked.done():
            return None
        # A probe that fails in a way it did not expect is a part that is not well.
        healthy = self._asked.exception() is None and self._asked.result()
        self._asked, self._due = None, now + every_seconds
        return healthy


class PartUpkeep:
    """Prepares, starts, probes and restarts one part; `failure` says why it was given up."""

    def __init__(self, part: Part, log: Path, pool: Executor) -> None:
        self.part = part
        self.process: Popen[bytes] | None = None
        self.healthy = False
        self.done = False
        """Whether it was healthy once, so that what needs it may start."""
        self.restarts = 0
        self.failure: str | None = None
        self._log = log
        self._pool = pool
        self._preparation: Future[None] | None = None
        self._probing = Probing(part.is_healthy, pool)
        self._crashes: list[float] = []
        self._start_at = 0.0

    def tick(self, now: float) -> None:
        if self.failure is not None:
            return
        if self.process is None:
            self._begin(now)
        elif self.process.poll() is not None:
            self._note_crash(now, self.process.returncode)
        else:
            self._look(now)

    def _begin(self, now: float) -> None:
        if now < self._start_at:
            return
        if self._preparation is None:
            self._preparation = self._pool.submit(processes.prepare, self.part.command)
        elif self._preparation.done():
            self._start(now, self._preparation.exception())
            self._preparation = None

    def _start(self, now: float, error: BaseException | None) -> None:
        if error is not None:
            self.failure = f"{self.part.name} could not be prepared: {error}"
            return
        self._start_at = now
        self._probing = Probing(self.part.is_healthy, self._pool)
        self.process = processes.start(self.part.command, self.part.stop, self._log)

    def _look(self, now: float) -> None:
        answer = self._probing.answer(now, _PROBE_SECONDS if self.healthy else _EAGER_PROBE_SECONDS)
        if answer is not None:
            # Another stack may have taken the port since it was chosen; then it is the other's server that is well.
            self.healthy = answer and (self.healthy or self._answers_itself())
            self.done = self.done or self.healthy
        if not self.done and now - self._start_at > _START_SECONDS:
            self.failure = f"{self.part.name} is not healthy after {_START_SECONDS:.0f} s. {self._log_says()}"

    def _answers_itself(self) -> bool:
        return self.process is not None and may_listen(self.process.pid, self.part.address)

    def _note_crash(self, now: float, code: int) -> None:
        self.process, self.healthy = None, False
        self._crashes.append(now)
        pause = restart_pause(self._crashes, now, _CRASHES_PER_MINUTE if self.done else _CRASHES_WHILE_STARTING)
        if pause is None:
            self.failure = f"{self.part.name} keeps ending (exit code {code}). {self._log_says()}"
            return
        self.restarts += 1
        self._start_at = now + pause

    def _log_says(self) -> str:
        return f"Its log ends:\n{end_of(self._log)}"


class ErrandUpkeep:
    """Runs one errand to its end; `failure` says what went wrong."""

    def __init__(self, errand: Errand, log: Path) -> None:
        self.errand = errand
        self.process: Popen[bytes] | None = None
        self.done = False
        self.failure: str | None = None
        self._log = log

    def tick(self, now: float) -> None:
        del now
        if self.done or self.failure is not None:
            return
        if self.process is None:
            self.process = processes.start(self.errand.command, processes.AT_ONCE, self._log)
            return
        code = self.process.poll()
        self.done = code == 0
        if code:
            self.failure = f"{self.errand.name} failed (exit code {code}). Its log ends:\n{end_of(self._log)}"
