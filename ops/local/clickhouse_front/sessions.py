"""Connections lent to requests. A session keeps its own (temporary tables, SET); without one it lives one request."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from chdb.state.sqlitelike import Connection

from ops.local.clickhouse_front.failure import ClickHouseFailure

IDLE_SECONDS = 60
MAX_SESSIONS = 1000


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@dataclass(slots=True)
class Lease:
    """One connection and the settings that requests put on it."""

    connection: Connection
    applied: dict[str, str] = field(default_factory=dict)
    used_at: float = 0.0
    busy: bool = False
    broken: bool = False

    def use(self, database: str) -> None:
        self.connection.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")

    def apply(self, settings: Mapping[str, str]) -> None:
        """Settings of a request hold for that request: what an earlier one set and this one does not is reset."""
        stale = [f"{name} = DEFAULT" for name in self.applied if name not in settings]
        fresh = [f"{name} = {quoted(value)}" for name, value in settings.items() if self.applied.get(name) != value]
        if not stale and not fresh:
            return
        self.broken = True
        self.connection.query("SET " + ", ".join(stale + fresh))
        self.applied = dict(settings)
        # A connection cannot leave read-only mode again.
        self.broken = "readonly" in settings


class Sessions:
    def __init__(self, connect: Callable[[], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}

    @contextmanager
    def lease(self, session_id: str | None) -> Iterator[Lease]:
        lease = Lease(self._connect()) if session_id is None else self._take(session_id)
        try:
            yield lease
        finally:
            self._give_back(session_id, lease)

    def close(self) -> None:
        with self._lock:
            for lease in self._leases.values():
                lease.connection.close()
            self._leases.clear()

    def _take(self, session_id: str) -> Lease:
        with self._lock:
            self._end_idle()
            lease = self._leases.get(session_id)
            if lease is None:
                if len(self._leases) >= MAX_SESSIONS:
                    raise ClickHouseFailure(202, "Too many sessions: close clients (TOO_MANY_SIMULTANEOUS_QUERIES)")
                lease = self._leases[session_id] = Lease(self._connect())
            if lease.busy:
                raise ClickHouseFailure(373, "The session is locked by a concurrent client (SESSION_IS_LOCKED)")
            lease.busy = True
            return lease

    def _give_back(self, session_id: str | None, lease: Lease) -> None:
        with self._lock:
            lease.busy, lease.used_at = False, self._clock()
            if session_id is None or lease.broken:
                lease.connection.close()
                if session_id is not None:
                    del self._leases[session_id]

    def _end_idle(self) -> None:
        oldest = self._clock() - IDLE_SECONDS
        for session_id in [name for name, lease in self._leases.items() if not lease.busy and lease.used_at < oldest]:
            self._leases.pop(session_id).connection.close()
