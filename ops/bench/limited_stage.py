"""Workers under a limit that the model server enforces strictly: what `bench limits` and `bench fairness` stand on."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from ops.bench.rehearsed_model import rehearsed_model
from ops.bench.subject import Process, worker
from ops.local.testing import Endpoints, local_servers
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics

_ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests per minute, of which the server forgives `burst_seconds` at once; told to the workers too."""

    requests_per_minute: int
    burst_seconds: float
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class LimitedStage:
    """Private servers, and a model server that keeps to the limit."""

    home: Path
    endpoints: Endpoints
    limit: Limit

    @property
    def kafka(self) -> str:
        return self.endpoints.kafka or ""

    @contextlib.contextmanager
    def workers(self, count: int, settings: Mapping[str, str] | None = None) -> Iterator[list[Process]]:
        """So many workers, all ready."""
        given = {
            "HEADRACE_LIMIT_REQUESTS_PER_MINUTE": str(self.limit.requests_per_minute),
            "HEADRACE_DRAIN_SECONDS": "1",
            **(settings or {}),
        }
        with contextlib.ExitStack() as running:
            yield [
                running.enter_context(worker(self._home_of(number), self.endpoints, given)) for number in range(count)
            ]

    def calls(self) -> list[dict[str, Any]]:
        """Every call that reached the model server since the stage was set, refused ones included."""
        with urlopen(f"{self.endpoints.model}/_rehearsal/ledger", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return [json.loads(line) for line in answer.read().splitlines()]

    def _home_of(self, number: int) -> Path:
        home = self.home / f"worker-{number}"
        home.mkdir(exist_ok=True)
        return home


@contextlib.contextmanager
def limited_stage(limit: Limit) -> Iterator[LimitedStage]:
    """Everything but the workers."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        with (
            local_servers(home, {"kafka", "redis", "postgres"}) as servers,
            rehearsed_model(home, limit.latency_seconds) as url,
        ):
            apply_topics(servers.kafka or "")
            migrate_postgres(servers.postgres or "", datetime.now(UTC))
            _enforce(url, limit)
            yield LimitedStage(home, Endpoints(servers.kafka, servers.redis, servers.postgres, model=url), limit)


def _enforce(url: str, limit: Limit) -> None:
    limits = {"requests_per_minute": limit.requests_per_minute, "burst_seconds": limit.burst_seconds}
    body = json.dumps({"limits": limits}).encode()
    asked = Request(f"{url}/_rehearsal/settings", data=body, method="PUT")  # noqa: S310 - on loopback
    with urlopen(asked, timeout=_ANSWER_SECONDS):  # noqa: S310 - on loopback
        pass
