"""The JavaScript clients of the contract page, installed from their lock file and run by node."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

CLIENTS = Path(__file__).with_name("clients")

needs_node_and_npm = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="node or npm is not installed"
)


def installed_clients(folder: Path) -> Path:
    """A copy with its packages. Hashes are checked by npm against the lock file."""
    shutil.copytree(CLIENTS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--cache", str(folder / ".npm")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def produce(clients: Path, environment: Mapping[str, str]) -> str:
    """Run the producer; the id of its request."""
    done = subprocess.run(
        ["node", "producer.js"],
        cwd=clients,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


@contextlib.contextmanager
def consuming(clients: Path, environment: Mapping[str, str], log: Path) -> Iterator[Path]:
    """The running consumer; what it prints. It must end well when asked to."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["node", "consumer.js"],
            cwd=clients,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
        process.terminate()
        assert process.wait(30) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()
