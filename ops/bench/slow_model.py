"""`headrace bench slow-model`: 2,000 calls in flight in one worker at 2 s each, beside the ideal and a bare client.

Every prompt is new, so every request is a call. The rate is that of whole waves, without the first and the last.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from ops.bench.pace import Pace, cpu_seconds_per_1000, steady_rate
from ops.bench.questions import a_request, publish
from ops.bench.rehearsed_model import rehearsed_model
from ops.bench.report import Bar, Report
from ops.bench.results_topic import ResultsTopic
from ops.bench.subject import outcome_of, watched, worker
from ops.local.testing import Endpoints, local_servers
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics

RATE_TARGET: Final = 0.9
RSS_TARGET_MB: Final = 400.0
_ROUND_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked; `requests` at least three times `in_flight`."""

    requests: int = 10_000
    in_flight: int = 2_000
    latency_seconds: float = 2.0
    prompt_bytes: int = 400

    @property
    def ideal_per_second(self) -> float:
        return self.in_flight / self.latency_seconds


def run(rounds: int = 3, size: Size | None = None) -> Report:
    """Start servers, let the bare client and the worker take turns on the same model server."""
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        with model_servers(home, size) as endpoints:
            table = [_round(home, endpoints, number, size) for number in range(rounds)]
    return Report(
        "slow-model",
        [
            Bar("slow_model_rate_ratio", median(row["of_ideal"] for row in table), RATE_TARGET),
            Bar("slow_model_rss_mb", max(row["worker_rss_mb"] for row in table), RSS_TARGET_MB, at_least=False),
        ],
        table,
        [
            f"{size.requests} calls of {size.latency_seconds:g} s, {size.in_flight} in flight. Answers are rehearsed.",
            f"Worker beside the bare client: {median(row['of_bare_client'] for row in table):g} (median).",
        ],
    )


@contextlib.contextmanager
def model_servers(home: Path, size: Size) -> Iterator[Endpoints]:
    """What a worker needs that calls: its servers, ready, and a model that answers after a fixed time."""
    with (
        local_servers(home, {"kafka", "redis", "postgres"}) as servers,
        rehearsed_model(home, size.latency_seconds) as url,
    ):
        apply_topics(servers.kafka or "")
        migrate_postgres(servers.postgres or "", datetime.now(UTC))
        yield Endpoints(servers.kafka, servers.redis, servers.postgres, model=url)


def _round(home: Path, endpoints: Endpoints, number: int, size: Size) -> dict[str, Any]:
    bare = pace_of_bare_client(home, endpoints.model or "", 2 * number, size)
    ours, rss_mb = pace_of_worker(home, endpoints, 2 * number + 1, size)
    return {
        "round": number + 1,
        "ideal_per_second": round(size.ideal_per_second),
        "bare_per_second": round(bare.per_second),
        "worker_per_second": round(ours.per_second),
        "of_ideal": round(ours.per_second / size.ideal_per_second, 3),
        "of_bare_client": round(ours.per_second / bare.per_second, 3),
        "bare_cpu_seconds_per_1000": round(bare.cpu_seconds_per_1000, 3),
        "worker_cpu_seconds_per_1000": round(ours.cpu_seconds_per_1000, 3),
        "worker_rss_mb": round(rss_mb),
    }


def pace_of_bare_client(home: Path, url: str, segment: int, size: Size) -> Pace:
    """The pace of a client that only calls, on requests of its own: each `segment` is one pace's."""
    asked = {
        "--url": url,
        "--requests": str(size.requests),
        "--in-flight": str(size.in_flight),
        "--prompt-bytes": str(size.prompt_bytes),
        "--first": str(segment * size.requests),
    }
    arguments = tuple(word for pair in asked.items() for word in pair)
    return Pace(**outcome_of(home, "bare_client", arguments, _ROUND_SECONDS))


def pace_of_worker(home: Path, endpoints: Endpoints, segment: int, size: Size) -> tuple[Pace, float]:
    """The pace, and the most memory it took."""
    kafka = endpoints.kafka or ""
    topic = ResultsTopic(kafka)
    start, first = topic.ends(), segment * size.requests
    publish(kafka, (a_request(number, size.prompt_bytes) for number in range(first, first + size.requests)))
    with worker(home, endpoints, {"HEADRACE_MAX_IN_FLIGHT": str(size.in_flight)}) as process:
        samples = watched(process, lambda: topic.count_since(start), size.requests, _ROUND_SECONDS)
    times = topic.times_since(start, size.requests)
    pace = Pace(
        steady_rate(times, size.in_flight, size.in_flight - 1),
        cpu_seconds_per_1000(samples, size.in_flight, size.in_flight),
    )
    return pace, max(sample.rss_mb for sample in samples)
