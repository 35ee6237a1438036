"""The processes under test: started as an operator starts them, watched from outside, ended by their id."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from ops.bench.pace import Sample
from ops.local import processes
from ops.local.part import Command, Stop
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http
from ops.local.testing import Endpoints

GROUP: Final = "headrace-worker-interactive"
_LOOK_SECONDS: Final = 0.03
_START_SECONDS: Final = 30.0
_MEBIBYTE: Final = 1024 * 1024
# Nobody listens there: a bench that needs no model must not reach one that costs money, and hits need no ledger.
_NO_LEDGER: Final = f"postgresql://headrace@{LOOPBACK}:9/headrace"
_NO_MODEL: Final = f"http://{LOOPBACK}:9"

Process = subprocess.Popen[bytes]


class SubjectError(RuntimeError):
    """A process under test ended, or did not do its work in time."""


@contextlib.contextmanager
def worker(home: Path, endpoints: Endpoints, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """One worker of the interactive lane, ready, on the private servers."""
    port = choose_port()
    given = {
        "HEADRACE_HOME": str(home),
        "HEADRACE_KAFKA": endpoints.kafka or "",
        "HEADRACE_REDIS": endpoints.redis or "",
        "HEADRACE_POSTGRES": endpoints.postgres or _NO_LEDGER,
        "HEADRACE_METRICS_PORT": str(port),
        "ANTHROPIC_BASE_URL": endpoints.model or _NO_MODEL,
        "ANTHROPIC_API_KEY": "rehearsal",
        "HEADRACE_MODEL_ENDPOINTS": "[]",
        **(environment or {}),
    }
    arguments = ("-m", "ops.cli", "worker", "--lane", "interactive")
    with running(home / "worker.log", arguments, given) as process:
        healthy = f"http://{LOOPBACK}:{port}/healthz"
        wait_until(lambda: answers_http(healthy), process, home / "worker.log", _START_SECONDS)
        yield process


@contextlib.contextmanager
def running(log: Path, arguments: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """`python ARGUMENTS`, ended with the block: asked first, so that it can finish."""
    stop = Stop(grace_seconds=15)
    process = processes.start(Command((sys.executable, *arguments), environment or {}), stop, log)
    try:
        yield process
    finally:
        processes.end([(process, stop)])


def wait_until(done: Callable[[], bool], process: Process, log: Path, within_seconds: float) -> None:
    """Raises SubjectError with the end of its log when the process ends, or is not done in time."""
    deadline = time.monotonic() + within_seconds
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-1000:]
            raise SubjectError(f"{log.stem} was not done in {within_seconds:g} s; the end of its log: {said}")
        time.sleep(_LOOK_SECONDS)


def outcome_of(home: Path, name: str, arguments: tuple[str, ...], within_seconds: float) -> dict[str, Any]:
    """What the module `ops.bench.NAME` writes as JSON to its `--out`."""
    out, log = home / f"{name}.json", home / f"{name}.log"
    out.unlink(missing_ok=True)
    with running(log, ("-m", f"ops.bench.{name}", "--out", str(out), *arguments)) as process:
        wait_until(out.exists, process, log, within_seconds)
    outcome: dict[str, Any] = json.loads(out.read_text())
    return outcome


def write_outcome(out: Path, outcome: Mapping[str, Any]) -> None:
    """For `outcome_of`: whole or not at all."""
    part = out.with_suffix(".part")
    part.write_text(json.dumps(outcome))
    part.rename(out)


def watched(process: Process, count: Callable[[], int], expected: int, within_seconds: float) -> list[Sample]:
    """Samples of the process until `count` reaches `expected`. Raises SubjectError."""
    subject, deadline = psutil.Process(process.pid), time.monotonic() + within_seconds
    samples: list[Sample] = []
    while not samples or samples[-1].count < expected:
        if process.poll() is not None or time.monotonic() > deadline:
            done = samples[-1].count if samples else 0
            raise SubjectError(f"{done} of {expected} results came within {within_seconds:g} s; run: headrace doctor")
        times = subject.cpu_times()
        samples.append(Sample(count(), times.user + times.system, subject.memory_info().rss / _MEBIBYTE))
        time.sleep(_LOOK_SECONDS)
    return samples
