"""`headrace bench fairness`: how long a small tenant waits, alone and beside a flood, under one limit.

The flood is put on the topic at once; from that moment the small tenant asks at a steady pace. It can only be served
before the flood where a worker sees its requests, so the workers' windows together must reach over the flood; a second
row shows what the default window does.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, Producer

from ops.bench.limited_stage import Limit, LimitedStage, limited_stage
from ops.bench.pace import percentile
from ops.bench.questions import a_request, flush, number_of, producer_for, publish, records_of, send
from ops.bench.report import Bar, Report
from ops.bench.results_topic import ResultsTopic
from schemas.request import PromptRequest

RATIO_TARGET: Final = 2.0
_SMALL_FROM: Final = 10_000_000
_PROMPT_BYTES: Final = 400
_PATIENCE_SECONDS: Final = 60.0
_LIMIT: Final = Limit(requests_per_minute=1800, burst_seconds=2.0, latency_seconds=0.8)


@dataclass(frozen=True, slots=True)
class Size:
    """What the flood asks at once, what the small tenant asks a second, and what workers hold unfinished."""

    flood: int = 10_000
    small_per_second: float = 2.0
    alone_seconds: float = 20.0
    seconds: float = 60.0
    limit: Limit = _LIMIT
    workers: int = 4
    window: int = 3000
    narrow_window: int | None = None
    """Another run with this window, without a bar."""


def run(rounds: int = 1, size: Size | None = None) -> Report:
    size = size or Size()
    windows = [size.window] * rounds + ([size.narrow_window] if size.narrow_window else [])
    table = [_round(number, window, size) for number, window in enumerate(windows)]
    return Report(
        "fairness",
        [Bar("fairness_p95_ratio", max(row["ratio"] for row in table[:rounds]), RATIO_TARGET, at_least=False)],
        table,
        [
            f"{size.workers} workers, {size.limit.requests_per_minute} requests a minute; answers are rehearsed.",
            f"A flood of {size.flood} at once; the small tenant asks {size.small_per_second:g} a second.",
            "The first seconds of the flood are those in which the workers take in and claim all of it.",
            "`window` is HEADRACE_MAX_IN_FLIGHT; what lies behind the windows in Kafka waits for the flood before it.",
        ],
    )


def _round(number: int, window: int, size: Size) -> dict[str, Any]:
    with limited_stage(size.limit) as stage, stage.workers(size.workers, {"HEADRACE_MAX_IN_FLIGHT": str(window)}):
        list(_small_waits(stage, _SMALL_FROM - 1000, 5, size))  # first connections, first scripts
        alone = list(_small_waits(stage, _SMALL_FROM, int(size.small_per_second * size.alone_seconds), size))
        flood = (_of("flood", a_request(each, _PROMPT_BYTES)) for each in range(size.flood))
        publish(stage.kafka, flood)
        beside = list(_small_waits(stage, 2 * _SMALL_FROM, int(size.small_per_second * size.seconds), size))
    p95_alone, p95_beside = percentile(alone, 0.95), percentile(beside, 0.95)
    return {
        "round": number + 1,
        "window": window,
        "alone_p50_s": round(percentile(alone, 0.5), 3),
        "alone_p95_s": round(p95_alone, 3),
        "flooded_p50_s": round(percentile(beside, 0.5), 3),
        "flooded_p95_s": round(p95_beside, 3),
        "flooded_first_5_s_max": round(max(beside[: int(size.small_per_second * 5)]), 3),
        "ratio": round(p95_beside / p95_alone, 2),
    }


def _small_waits(stage: LimitedStage, first: int, count: int, size: Size) -> Iterator[float]:
    """From when each request was due to when its result came; one that did not come counts as all the patience."""
    topic, producer = ResultsTopic(stage.kafka), producer_for(stage.kafka)
    consumer = topic.consumer_from(topic.ends())
    began = time.monotonic()
    due: dict[int, float] = {}
    waits: dict[int, float] = {}
    while len(waits) < count and time.monotonic() < began + count / size.small_per_second + _PATIENCE_SECONDS:
        if len(due) < count and time.monotonic() >= began + len(due) / size.small_per_second:
            number = first + len(due)
            due[number] = began + len(due) / size.small_per_second
            _ask(producer, number)
        waits |= {number: time.monotonic() - due[number] for number in _arrived(consumer) if number in due}
    consumer.close()
    flush(producer)
    yield from (waits.get(number, _PATIENCE_SECONDS) for number in due)


def _ask(producer: Producer, number: int) -> None:
    for record in records_of([_of("small", a_request(number, _PROMPT_BYTES))]):
        send(producer, record)
    producer.poll(0)


def _arrived(consumer: Consumer) -> list[int]:
    first = consumer.poll(0.01)
    found = [] if first is None else [first, *consumer.consume(500, 0)]
    return [number_of(message.key() or b"") for message in found if message.error() is None]


def _of(tenant: str, request: PromptRequest) -> PromptRequest:
    return request.model_copy(update={"tenant": tenant})
