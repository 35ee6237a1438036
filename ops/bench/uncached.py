"""`headrace bench uncached`: what an answer costs that is in no cache, at a model that answers at once.

Claim, mark, call, settle, publish, each durable; beside a bare client that only calls. Every prompt is new.
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

from ops.bench.report import Bar, Report
from ops.bench.slow_model import Size, model_servers, pace_of_bare_client, pace_of_worker
from ops.local.testing import Endpoints

RATE_TARGET: Final = 500.0
AT_ONCE: Final = Size(latency_seconds=0.0)


def run(rounds: int = 3, size: Size = AT_ONCE) -> Report:
    """Start servers, let the bare client and the worker take turns on the same model server."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        with model_servers(home, size) as endpoints:
            table = [_round(home, endpoints, number, size) for number in range(rounds)]
    return Report(
        "uncached",
        [Bar("uncached_per_second", median(row["worker_per_second"] for row in table), RATE_TARGET)],
        table,
        [f"{size.requests} calls answered at once, {size.in_flight} in flight at most. Answers are rehearsed."],
    )


def _round(home: Path, endpoints: Endpoints, number: int, size: Size) -> dict[str, Any]:
    bare = pace_of_bare_client(home, endpoints.model or "", 2 * number, size)
    ours, _ = pace_of_worker(home, endpoints, 2 * number + 1, size)
    return {
        "round": number + 1,
        "bare_per_second": round(bare.per_second),
        "worker_per_second": round(ours.per_second),
        "of_bare_client": round(ours.per_second / bare.per_second, 3),
        "bare_cpu_seconds_per_1000": round(bare.cpu_seconds_per_1000, 3),
        "worker_cpu_seconds_per_1000": round(ours.cpu_seconds_per_1000, 3),
    }
