"""A rehearsal server as a process of its own, for tests."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2


class RehearsalServer:
    """Handle on a running server; `url` is what a client's base_url takes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx2.Client(timeout=10)

    def set(self, **settings: Any) -> None:
        self._call("PUT", "/_rehearsal/settings", json.dumps(settings).encode())

    def reset(self) -> None:
        self.set(latency_seconds=0, faults=[], limits=None)
        self._call("DELETE", "/_rehearsal/ledger")

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._call("GET", "/_rehearsal/ledger").splitlines()]

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(self._call("GET", "/_rehearsal/summary"))
        return summary

    def wait_until_charged(self, calls: int, within_seconds: float = 5.0) -> None:
        """Until that many answers were finished. Raises TimeoutError."""
        deadline = time.monotonic() + within_seconds
        while self.summary()["charged"] < calls:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{calls} charged calls were not seen within {within_seconds:g} seconds")
            time.sleep(0.02)

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        response = self._client.request(method, self.url + path, content=body)
        response.raise_for_status()
        return response.content


@contextmanager
def rehearsal_server(ledger: Path | None = None) -> Iterator[RehearsalServer]:
    """Started with no latency; ended by its process id."""
    command = [sys.executable, "-m", "ops.rehearsal", "--port", "0", "--latency-seconds", "0"]
    if ledger is not None:
        command += ["--ledger", str(ledger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            yield RehearsalServer(next(word for word in ready.split() if word.startswith("http://")))
        finally:
            process.terminate()
            process.wait(timeout=10)
