"""Real servers for tests, without supervision: started when asked for, ended with the block."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ops.local import processes
from ops.local.clickhouse import clickhouse_server
from ops.local.kafka import kafka_server
from ops.local.part import Server
from ops.local.passwords import Passwords, passwords_in
from ops.local.postgres import postgres_server
from ops.local.rehearsal import rehearsal_server
from ops.local.spare import spare_folder
from ops.local.valkey import valkey_server

ServerName = Literal["kafka", "redis", "postgres", "clickhouse", "model"]

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Connection strings of what runs; None for what was not asked for."""

    kafka: str | None = None
    redis: str | None = None
    postgres: str | None = None
    clickhouse: str | None = None
    model: str | None = None


class ServerStartError(RuntimeError):
    """A server ended or stayed silent while it should have started."""


@contextlib.contextmanager
def local_servers(home: Path, parts: AbstractSet[ServerName]) -> Iterator[Endpoints]:
    """The named servers with their data in `home`. Call it from the main thread, see `processes.start`."""
    home.mkdir(parents=True, exist_ok=True)
    passwords = passwords_in(home)
    with contextlib.ExitStack() as running:
        running.callback(shutil.rmtree, spare_folder(passwords.stack), ignore_errors=True)
        servers = {name: build() for name, build in _builders(home, passwords).items() if name in parts}
        started = [(server, running.enter_context(_running(server, home))) for server in servers.values()]
        for server, process in started:
            _await_health(server, process, _log(server, home))
        yield Endpoints(**{name: server.endpoint for name, server in servers.items()})


def _builders(home: Path, passwords: Passwords) -> dict[ServerName, Callable[[], Server]]:
    return {
        "kafka": lambda: kafka_server(home / "kafka"),
        "redis": lambda: valkey_server(home / "valkey", passwords.valkey),
        "postgres": lambda: postgres_server(home / "postgres", passwords.postgres, spare_folder(passwords.stack)),
        "clickhouse": lambda: clickhouse_server(home / "clickhouse", passwords.clickhouse),
        "model": rehearsal_server,
    }


@contextlib.contextmanager
def _running(server: Server, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    processes.prepare(server.part.command)
    process = processes.start(server.part.command, server.part.stop, _log(server, home))
    try:
        yield process
    finally:
        processes.end([(process, server.part.stop)])


def _await_health(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.part.is_healthy():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-1000:]
            raise ServerStartError(
                f"{server.part.name} did not start; the end of its log: {said}. Try: headrace doctor"
            )
        time.sleep(_POLL_SECONDS)


def _log(server: Server, home: Path) -> Path:
    return home / f"{server.part.name}.log"
