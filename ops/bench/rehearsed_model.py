"""A rehearsal server that answers after a fixed time, as a process of its own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.bench.subject import running, wait_until
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http

_START_SECONDS: Final = 30.0


@contextlib.contextmanager
def rehearsed_model(home: Path, latency_seconds: float) -> Iterator[str]:
    """Its base URL."""
    port, log = choose_port(), home / "model.log"
    arguments = ("-m", "ops.rehearsal", "--host", LOOPBACK, "--port", str(port))
    with running(log, (*arguments, "--latency-seconds", f"{latency_seconds:g}")) as process:
        url = f"http://{LOOPBACK}:{port}"
        wait_until(lambda: answers_http(f"{url}/healthz"), process, log, _START_SECONDS)
        yield url
