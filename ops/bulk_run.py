"""One bulk run as a library: publish requests, follow their results, keep the books."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

from producers.request_producer import RequestProducer
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import Lane
from streams.framing import frame_of
from streams.settings import Settings
from streams.subscribe import ResultSubscriber
from streams.subscribe_start import Start

_LOT: Final = 500
_TICK_SECONDS: Final = 0.25


@dataclass(slots=True)
class BulkSummary:
    """The books of a run, also while it goes on. Failed are results without an answer; hits were not paid."""

    published: int = 0
    results: int = 0
    failed: int = 0
    hits: int = 0
    unanswered: int = 0
    unpriced: int = 0
    """Results whose model has no known price: the sums lack them."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)
    seconds: float = 0.0

    def count(self, result: PromptResult) -> None:
        """Enter one result."""
        self.results += 1
        self.failed += result.status != "completed"
        self.hits += result.status == "completed" and result.source != "model"
        self.unpriced += result.status == "completed" and result.cost_usd is None
        self.input_tokens += result.usage.input_tokens
        self.output_tokens += result.usage.output_tokens
        self.cost_usd += result.cost_usd or 0
        self.saved_usd += result.saved_usd or 0

    def as_json(self) -> dict[str, Any]:
        """Plain numbers: dollars as floats of nine digits, for reading; the exact sums are in the stores."""
        money = {"cost_usd": round(float(self.cost_usd), 9), "saved_usd": round(float(self.saved_usd), 9)}
        return {**asdict(self), **money, "seconds": round(self.seconds, 3)}


def _nothing(_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How a run goes: `already_published` requests at the front are waited for and not asked again.

    `start` is where results are read from; a run that goes on has some behind it.
    """

    lane: Lane = "bulk"
    timeout_seconds: float | None = None
    start: Start = "now"
    already_published: int = 0
    on_published: Callable[[int], None] = field(default=_nothing)
    """Told the count of requests confirmed so far, each time it grows."""
    on_result: Callable[[PromptResult], None] = field(default=_nothing)


def run_bulk(
    requests: Iterable[PromptRequest],
    settings: Settings,
    on_progress: Callable[[BulkSummary], None] = _nothing,
    options: BulkOptions | None = None,
) -> BulkSummary:
    """Publish every request, wait for every result; `unanswered` says what had not come by the timeout.

    Subscribes before it publishes, so no result is missed. Raises PublishError when the broker refuses.
    """
    chosen = options or BulkOptions()
    with (
        ResultSubscriber(settings.kafka_connection, start=chosen.start) as subscriber,
        RequestProducer(settings.kafka_connection, lane=chosen.lane, frame=frame_of(settings)) as producer,
    ):
        run = _Run(producer, subscriber, chosen, on_progress)
        run.publish(requests)
        run.follow()
    return run.summary


class _Run:
    def __init__(
        self,
        producer: RequestProducer,
        subscriber: ResultSubscriber,
        options: BulkOptions,
        on_progress: Callable[[BulkSummary], None],
    ) -> None:
        self._producer = producer
        self._subscriber = subscriber
        self._options = options
        self._on_progress = on_progress
        self._expected: set[UUID] = set()
        self._began = self._told = time.monotonic()
        self.summary = BulkSummary()

    def publish(self, source: Iterable[PromptRequest]) -> None:
        requests = iter(source)
        # All earlier ones are expected before the first result is read: theirs may come first.
        for request in islice(requests, self._options.already_published):
            self._expect(request)
        while lot := list(islice(requests, _LOT)):
            for request in lot:
                self._expect(request)
            self._producer.submit_many(lot)
            self._options.on_published(self.summary.published)
            self._take_what_is_there()
            self._tell()

    def _take_what_is_there(self) -> None:
        for _ in range(2 * _LOT):  # results must not keep requests waiting
            if not self._take(0):
                return

    def follow(self) -> None:
        limit = self._options.timeout_seconds
        while self._expected and (limit is None or time.monotonic() - self._began < limit):
            self._take(_TICK_SECONDS)
            if time.monotonic() - self._told >= _TICK_SECONDS:
                self._tell()
        self._tell()

    def _expect(self, request: PromptRequest) -> None:
        self._expected.add(request.request_id)
        self.summary.published += 1

    def _take(self, wait_seconds: float) -> bool:
        result = self._subscriber.poll(wait_seconds)
        if result is not None and result.request_id in self._expected:  # once, whatever is delivered twice
            self._expected.discard(result.request_id)
            self.summary.count(result)
            self._options.on_result(result)
        return result is not None

    def _tell(self) -> None:
        self._told = time.monotonic()
        self.summary.unanswered = len(self._expected)
        self.summary.seconds = self._told - self._began
        self._on_progress(self.summary)
