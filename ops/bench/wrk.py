"""`wrk` as the load on the gateway: a generator that is not ours, from the distribution's packages."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from ops.bench.subject import SubjectError

_SCRIPT: Final = Path(__file__).with_name("gateway.lua")
_MARK: Final = "RESULT "
_MORE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one run of wrk has seen; `failed` are answers that are no success, and broken connections."""

    connections: int
    per_second: float
    failed: int
    p50_ms: float
    p99_ms: float


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def load(url: str, key: str, what: str, connections: int, seconds: float) -> Loaded:
    """A closed loop of so many connections; `what` is `submit`, `keyed` or a file of ids. Raises SubjectError."""
    # It counts in whole seconds.
    command = (
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, ceil(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        str(_SCRIPT),
        url,
    )
    told = subprocess.run(
        [*command, "--", key, what], capture_output=True, text=True, timeout=seconds + _MORE_SECONDS, check=False
    )
    found = [line for line in told.stdout.splitlines() if line.startswith(_MARK)]
    if not found:
        raise SubjectError(f"wrk did not tell its result: {(told.stderr or told.stdout)[-500:]}")
    result = json.loads(found[0].removeprefix(_MARK))
    per_second = result["requests"] / result["seconds"]
    return Loaded(connections, per_second, result["failed"], result["p50_ms"], result["p99_ms"])
