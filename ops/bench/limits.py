"""`headrace bench limits`: four workers under one limit that the server enforces strictly; how much of it they use.

Counted by the server's own ledger, over a window that begins when all workers have long begun.
"""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Final

from ops.bench.limited_stage import Limit, LimitedStage, limited_stage
from ops.bench.questions import a_request, publish
from ops.bench.report import Bar, Report

USED_TARGET: Final = 0.95
REFUSED_TARGET: Final = 0.01
_REFUSED: Final = 429
_LIMIT: Final = Limit(requests_per_minute=600, burst_seconds=2.0, latency_seconds=0.8)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked, and of how strict a server: it forgives two seconds' worth at once, no more."""

    minutes: float = 1.0
    limit: Limit = _LIMIT
    workers: int = 4
    warm_up_seconds: float = 10.0
    prompt_bytes: int = 400

    @property
    def requests(self) -> int:
        seconds = 60 * self.minutes + 3 * self.warm_up_seconds + 20
        return int(self.limit.requests_per_minute / 60 * seconds)


def run(rounds: int = 1, size: Size | None = None) -> Report:
    size = size or Size()
    table = [_round(number, size) for number in range(rounds)]
    return Report(
        "limits",
        [
            Bar("limits_share_used", median(row["of_limit"] for row in table), USED_TARGET),
            Bar("limits_refused_share", max(row["refused_share"] for row in table), REFUSED_TARGET, at_least=False),
        ],
        table,
        [
            f"{size.workers} workers, {size.minutes:g} minutes a round (the bar: --minutes 5), answers are rehearsed.",
            f"Enforced: {size.limit.requests_per_minute} a minute, {size.limit.burst_seconds:g} s of it at once.",
            "Refused: of every call since the first, the start of the workers included.",
        ],
    )


def _round(number: int, size: Size) -> dict[str, Any]:
    with limited_stage(size.limit) as stage:
        publish(stage.kafka, (a_request(each, size.prompt_bytes) for each in range(size.requests)))
        with stage.workers(size.workers):
            began = time.time() + size.warm_up_seconds
            seconds = 60 * size.minutes
            time.sleep(size.warm_up_seconds + seconds)
            calls = stage.calls()
        return {"round": number + 1, **_figures(calls, began, seconds, stage)}


def _figures(calls: list[dict[str, Any]], began: float, seconds: float, stage: LimitedStage) -> dict[str, Any]:
    within = [call for call in calls if began <= datetime.fromisoformat(call["time"]).timestamp() < began + seconds]
    answered = sum(call["status"] != _REFUSED for call in within)
    by_status = Counter(call["status"] for call in calls)
    return {
        "answered": answered,
        "of_limit": round(answered / (stage.limit.requests_per_minute * seconds / 60), 4),
        "calls": len(calls),
        "refused": by_status[_REFUSED],
        "refused_share": round(by_status[_REFUSED] / max(len(calls), 1), 4),
    }
