"""`headrace bench gateway`, waiting part: `POST /v1/requests?wait=` on a hit of the shared cache, end to end.

One gateway, one worker, one connection of a stock HTTP client that asks one question after the other, each only once.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx2

from ops.bench.gateway import Stage, gateway_stage
from ops.bench.pace import percentile
from ops.bench.questions import a_request, fill_cache
from ops.bench.report import Bar, Report
from ops.bench.subject import SubjectError, worker
from schemas.request import PromptRequest
from streams.gateway.local_keys import LOCAL_TENANT

P50_TARGET_MS: Final = 25.0
_ANSWER_BYTES: Final = 800
_PROMPT_BYTES: Final = 400
_WAIT_SECONDS: Final = 10
_ASKED: Final = {"department", "model", "max_tokens", "messages"}


@dataclass(frozen=True, slots=True)
class Size:
    """Calls of a round that count, and those before them that do not."""

    calls: int = 400
    warm_up: int = 50


def run(rounds: int = 3, size: Size | None = None) -> Report:
    """On servers of its own. Raises SubjectError where a call is not answered in place from the shared cache."""
    size = size or Size()
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder,
        gateway_stage(Path(folder), "redis") as stage,
        worker(stage.home, stage.endpoints),
    ):
        rows = [_round(number, stage, size) for number in range(rounds)]
    p99 = median(row["wait_p99_ms"] for row in rows)
    return Report(
        "gateway-wait",
        [Bar("gateway_wait_p50_ms", median(row["wait_p50_ms"] for row in rows), P50_TARGET_MS, at_least=False)],
        rows,
        [
            f"One call after the other on one connection: p99 {p99:.1f} ms. Every answer came from the shared cache.",
            "submit: the same calls without `wait`, confirmed by the broker (acks=all), in the same round.",
        ],
    )


def _round(number: int, stage: Stage, size: Size) -> dict[str, Any]:
    each = size.calls + size.warm_up
    numbers = range(2 * each * number, 2 * each * (number + 1))
    requests = [a_request(at, _PROMPT_BYTES).model_copy(update={"tenant": LOCAL_TENANT}) for at in numbers]
    fill_cache(stage.endpoints.redis or "", requests, _ANSWER_BYTES)
    headers = {"Authorization": f"Bearer {stage.place.key}", "Content-Type": "application/json"}
    address = f"http://{stage.place.address}"
    with httpx2.Client(base_url=address, headers=headers, timeout=2 * _WAIT_SECONDS) as client:
        submits = _latencies_ms(client, "/v1/requests", requests[:each])[size.warm_up :]
        waits = _latencies_ms(client, f"/v1/requests?wait={_WAIT_SECONDS}", requests[each:])[size.warm_up :]
    return {
        "round": number + 1,
        "submit_p50_ms": round(percentile(submits, 0.5), 1),
        "wait_p50_ms": round(percentile(waits, 0.5), 1),
        "wait_p99_ms": round(percentile(waits, 0.99), 1),
    }


def _latencies_ms(client: httpx2.Client, path: str, requests: Sequence[PromptRequest]) -> list[float]:
    waits, taken = "wait" in path, list[float]()
    for request in requests:
        body = request.model_dump_json(include=_ASKED)
        began = time.perf_counter()
        answer = client.post(path, content=body)
        taken.append((time.perf_counter() - began) * 1000)
        told = answer.json()
        found = (answer.status_code, told.get("status"), told.get("source"))
        if found != ((200, "completed", "shared_cache") if waits else (202, "pending", None)):
            raise SubjectError(f"a call was answered {found}: {told.get('code') or told.get('error')}")
    return taken
