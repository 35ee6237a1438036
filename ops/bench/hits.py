"""`headrace bench hits`: topic to topic from a warm shared cache, beside a stock Faust agent that does nothing.

Both read the same records, taking turns, each in a new process, so that the worker's own cache is cold.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from ops.bench.latency import Load, added_latency_ms
from ops.bench.pace import Pace, cpu_seconds_per_1000, percentile, steady_rate
from ops.bench.questions import a_request, fill_cache, publish
from ops.bench.report import Bar, Report
from ops.bench.results_topic import ResultsTopic, rewind
from ops.bench.subject import GROUP, outcome_of, watched, worker
from ops.local.ports import choose_port
from ops.local.testing import Endpoints, local_servers
from ops.topics import apply_topics

RATIO_TARGET: Final = 0.7
P99_TARGET_MS: Final = 100.0
_ANSWER_BYTES: Final = 800
_ROUND_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked; the first `warm_up` records of every round do not count."""

    records: int = 32_000
    warm_up: int = 2_000
    prompt_bytes: int = 400
    latency_seconds: float = 10.0


def run(rounds: int = 3, size: Size | None = None) -> Report:
    """Start servers, fill topic and cache once, let both take turns, then offer half the worker's rate as often."""
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        with local_servers(home, {"kafka", "redis"}) as endpoints:
            return _measured(home, endpoints, rounds, size)


def _measured(home: Path, endpoints: Endpoints, rounds: int, size: Size) -> Report:
    kafka, redis = endpoints.kafka or "", endpoints.redis or ""
    apply_topics(kafka)
    requests = [a_request(number, size.prompt_bytes) for number in range(size.records)]
    fill_cache(redis, requests, _ANSWER_BYTES)
    publish(kafka, requests)
    table = [_round(home, endpoints, number, size) for number in range(rounds)]
    per_second = median(row["worker_per_second"] for row in table) / 2
    loads = [_latencies_ms(home, endpoints, per_second, size) for _ in range(rounds)]
    p50, p99 = (median(percentile(latencies_ms, share) for latencies_ms in loads) for share in (0.5, 0.99))
    return Report(
        "hits",
        [
            Bar("hits_ratio", median(row["ratio"] for row in table), RATIO_TARGET),
            Bar("hits_p99_ms", round(p99, 1), P99_TARGET_MS, at_least=False),
        ],
        table,
        [
            f"{size.records} prompts of {size.prompt_bytes} bytes, answers of {_ANSWER_BYTES} bytes, one worker.",
            f"Open loop at {per_second:,.0f}/s, due to received: p50 {p50:.1f} ms, p99 {p99:.1f} ms (medians).",
        ],
    )


def _round(home: Path, endpoints: Endpoints, number: int, size: Size) -> dict[str, Any]:
    stock = _stock_pace(home, endpoints.kafka or "", number, size)
    ours = _worker_pace(home, endpoints, size)
    return {
        "round": number + 1,
        "stock_per_second": round(stock.per_second),
        "worker_per_second": round(ours.per_second),
        "ratio": round(ours.per_second / stock.per_second, 3),
        "stock_cpu_seconds_per_1000": round(stock.cpu_seconds_per_1000, 4),
        "worker_cpu_seconds_per_1000": round(ours.cpu_seconds_per_1000, 4),
    }


def _latencies_ms(home: Path, endpoints: Endpoints, per_second: float, size: Size) -> list[float]:
    with worker(home, endpoints, {"HEADRACE_LOCAL_CACHE_BYTES": "0"}) as process:
        load = Load(per_second, size.latency_seconds, size.prompt_bytes, size.records)
        return added_latency_ms(home, process, endpoints.kafka or "", load)


def _stock_pace(home: Path, kafka: str, number: int, size: Size) -> Pace:
    asked = {
        "--kafka": kafka,
        "--group": f"bench-stock-{number}",
        "--web-port": str(choose_port()),
        "--records": str(size.records),
        "--skip-first": str(size.warm_up),
    }
    arguments = tuple(word for pair in asked.items() for word in pair)
    return Pace(**outcome_of(home, "faust_stock_agent", arguments, _ROUND_SECONDS))


def _worker_pace(home: Path, endpoints: Endpoints, size: Size) -> Pace:
    kafka = endpoints.kafka or ""
    rewind(kafka, GROUP)
    topic = ResultsTopic(kafka)
    start = topic.ends()
    with worker(home, endpoints) as process:
        samples = watched(process, lambda: topic.count_since(start), size.records, _ROUND_SECONDS)
    times = topic.times_since(start, size.records)
    return Pace(steady_rate(times, size.warm_up), cpu_seconds_per_1000(samples, size.warm_up))
