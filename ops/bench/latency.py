"""Added latency under an open loop: from when a request was due to when its result reached a subscriber."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.bench.questions import number_of
from ops.bench.results_topic import ResultsTopic
from ops.bench.subject import Process, SubjectError, running, wait_until

_WARM_UP_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 20.0
_BATCH: Final = 10_000
_LOOK_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Load:
    """A constant rate over some seconds; `questions` are asked in turn."""

    per_second: float
    seconds: float
    prompt_bytes: int
    questions: int

    @property
    def warm_up_records(self) -> int:
        return int(self.per_second * min(_WARM_UP_SECONDS, self.seconds))

    @property
    def records(self) -> int:
        return self.warm_up_records + max(int(self.per_second * self.seconds), 1)


def added_latency_ms(home: Path, worker: Process, kafka: str, load: Load) -> list[float]:
    """One figure for each request after the warm-up. A request sent late counts from when it was due."""
    topic, out, log = ResultsTopic(kafka), home / "open_loop.json", home / "open_loop.log"
    start = topic.ends()
    asked = {
        "--out": str(out),
        "--kafka": kafka,
        "--per-second": str(load.per_second),
        "--records": str(load.records),
        "--prompt-bytes": str(load.prompt_bytes),
        "--questions": str(load.questions),
    }
    arguments = ("-m", "ops.bench.open_loop", *(word for pair in asked.items() for word in pair))
    with running(log, arguments) as producer:
        arrivals = _arrivals(topic, start, worker, load)
        wait_until(out.exists, producer, log, _PATIENCE_SECONDS)
    started = float(json.loads(out.read_text())["started"])
    return [
        (arrived - started - number / load.per_second) * 1000
        for number, arrived in arrivals.items()
        if number >= load.warm_up_records
    ]


def _arrivals(topic: ResultsTopic, start: dict[int, int], worker: Process, load: Load) -> dict[int, float]:
    """When the result of each number came, by the clock that the open loop uses; up to two looks late.

    It looks, and lets the broker answer, at intervals: woken by each record, it would take the time it measures.
    """
    consumer = topic.consumer_from(start, patience_ms=int(_LOOK_SECONDS * 1000))
    deadline = time.monotonic() + _PATIENCE_SECONDS + 2 * (_WARM_UP_SECONDS + load.seconds)
    seen: list[tuple[bytes, float]] = []
    while len(seen) < load.records:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SubjectError(f"{len(seen)} of {load.records} results came in time; run: headrace doctor")
        time.sleep(_LOOK_SECONDS)
        found = consumer.consume(_BATCH, 0)
        now = time.monotonic()
        seen += [(message.key() or b"", now) for message in found if message.error() is None]
    consumer.close()
    return {number_of(request_id): arrived for request_id, arrived in seen}
