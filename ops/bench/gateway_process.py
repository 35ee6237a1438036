"""The stand as a process of its own, and what it uses."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ops.local import processes
from ops.local.part import Command, Stop
from ops.local.ports import LOOPBACK, accepts_connections, choose_port

_UP_SECONDS: Final = 60.0
STAND_STOP: Final = Stop(grace_seconds=20)


@dataclass(frozen=True, slots=True)
class StandProcess:
    """Where it listens, and its process."""

    port: int
    process: psutil.Process

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def rss_mib(self) -> float:
        return round(self.process.memory_info().rss / 2**20, 1)

    @property
    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def stand_command(environment: Mapping[str, str], keys: Mapping[str, str], port: int, told: Path) -> Command:
    """How it is started; `keys` are secrets and their tenants, `told` is the file it reads them from."""
    told.touch(mode=0o600)
    told.write_text(json.dumps({"keys": dict(keys), "secret": "of a stand, not a secret", "port": port}))
    return Command((sys.executable, "-m", "ops.bench.gateway_stand", str(told)), dict(environment))


@contextmanager
def gateway_stand(environment: Mapping[str, str], keys: Mapping[str, str], folder: Path) -> Iterator[StandProcess]:
    """Listening; ended with the block."""
    port, log = choose_port(), folder / "gateway.log"
    process = processes.start(stand_command(environment, keys, port, folder / "gateway.json"), STAND_STOP, log)
    try:
        deadline = time.monotonic() + _UP_SECONDS
        while not accepts_connections(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not come up: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield StandProcess(port, psutil.Process(process.pid))
    finally:
        processes.end([(process, STAND_STOP)])
