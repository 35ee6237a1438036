"""The ClickHouse engine behind its HTTP interface (`ops.local.clickhouse_front`), as a part."""

import sys
from pathlib import Path

from ops.local.part import Command, Part, Server, Stop
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http

USUAL_PORT = 8123
USER = DATABASE = "headrace"


def clickhouse_server(folder: Path, password: str, usual_port: int = 0) -> Server:
    """An engine whose data lies in `folder`; one process at a time may hold that folder."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = choose_port(usual_port)
    place = ("--data", str(folder), "--host", LOOPBACK, "--port", str(port))
    command = Command(
        (sys.executable, "-m", "ops.local.clickhouse_front", *place, "--user", USER, "--database", DATABASE),
        {"HEADRACE_CLICKHOUSE_PASSWORD": password},
    )
    part = Part(
        "clickhouse",
        "server",
        command,
        f"{LOOPBACK}:{port}",
        lambda: answers_http(f"http://{LOOPBACK}:{port}/ping"),
        Stop(grace_seconds=20),
    )
    return Server(part, f"http://{USER}:{password}@{LOOPBACK}:{port}")
