"""The folder of one local stack: what lies where, and who may write in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_KEPT_LOG_BYTES = 16 * 1024 * 1024


class HomeTakenError(RuntimeError):
    """Another supervisor works in this folder."""


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def endpoints(self) -> Path:
        return self.root / "endpoints.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Make the folder, closed to others, and set long logs of earlier runs aside."""
        # PostgreSQL's own account passes through, but lists nothing.
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        self.data.mkdir(mode=0o711, exist_ok=True)
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > _KEPT_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the folder while the block runs. The kernel lets go of it however the holder ends.

        Raises HomeTakenError when another process holds it.
        """
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeTakenError(str(self.root)) from error
            yield

    def is_taken(self) -> bool:
        try:
            with self._lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    @property
    def _lock(self) -> Path:
        return self.root / "lock"

    @staticmethod
    def at(path: Path) -> "Home":
        return Home(Path(os.path.abspath(path)))  # noqa: PTH100 - a link in the path stays as the user wrote it
