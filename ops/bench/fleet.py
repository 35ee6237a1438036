"""`headrace bench fleet` and `savings`: the demo's fleet through a worker, beside asking the model for every request.

Both runs are the same 1,500 requests on the same private servers; the baseline has every cache off (`bypass`). What was
paid is what the model's own ledger charged.
"""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr

from ops.bench.rehearsed_model import rehearsed_model
from ops.bench.report import Bar, Report
from ops.bench.subject import worker
from ops.bulk_run import BulkOptions, run_bulk
from ops.demo.books import ModelBook, model_book
from ops.local.testing import Endpoints, local_servers
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from producers.bulk import BulkDefaults, RejectedLine, requests_in
from producers.uuid7 import uuid7
from schemas.request import CachePolicy, PromptRequest
from schemas.result import PromptResult
from streams.settings import Settings
from streams.validation import checked

COST_TARGET: Final = 0.20
BILL_TARGET: Final = 0.50
HITS_TARGET: Final = 0.80
_LATENCY_SECONDS: Final = 0.3
_RUN_SECONDS: Final = 240.0

Mode = Literal["use", "bypass"]


class FleetBenchError(RuntimeError):
    """The runs cannot be compared; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run over all requests; results are in the order of the requests."""

    requests: list[PromptRequest]
    results: list[PromptResult]
    book: ModelBook
    seconds: float

    @property
    def hits(self) -> float:
        """The share of requests that nobody paid for."""
        return sum(result.source != "model" for result in self.results) / len(self.results)

    @property
    def wrong(self) -> int:
        """Answers that their template's check refuses for the very device they were given to."""
        return sum(_is_wrong(*pair) for pair in zip(self.requests, self.results, strict=True))

    def row(self, name: str) -> dict[str, Any]:
        return {
            "run": name,
            "requests": len(self.requests),
            "calls": self.book.calls,
            "cost_usd": float(self.book.cost_usd),
            "hits": round(self.hits, 4),
            "wrong": self.wrong,
            "seconds": round(self.seconds, 1),
        }


def run_fleet(rounds: int = 1, lines: int | None = None) -> Report:
    """Bars: at most a fifth of the baseline's cost, and no wrong answer. One round says it all: nothing is timed."""
    del rounds
    cached, baseline = _both(lines)
    share = float(cached.book.cost_usd / baseline.book.cost_usd)
    bars = [
        Bar("fleet_cost_share", round(share, 4), COST_TARGET, at_least=False),
        Bar("fleet_wrong_answers", cached.wrong + baseline.wrong, 0, at_least=False),
        Bar("fleet_answers_unlike_the_models", _differing(cached, baseline), 0, at_least=False),
    ]
    return Report("fleet", bars, [cached.row("cached"), baseline.row("every cache off")], [_told(cached, baseline)])


def run_savings(rounds: int = 1, lines: int | None = None) -> Report:
    """Bars: what users are promised, half the bill and four of five requests unpaid; and that what is told is true."""
    del rounds
    cached, baseline = _both(lines)
    told = sum((result.saved_usd or Decimal(0) for result in cached.results), Decimal(0))
    true = baseline.book.cost_usd - cached.book.cost_usd
    bars = [
        Bar("savings_bill_share", _share(cached.book.cost_usd, baseline.book.cost_usd), BILL_TARGET, at_least=False),
        Bar("savings_hits", round(cached.hits, 4), HITS_TARGET),
        Bar("savings_told_wrongly", abs(1 - _share(told, true)), 0.01, at_least=False),
    ]
    rows = [cached.row("cached"), baseline.row("every cache off")]
    return Report("savings", bars, rows, [_told(cached, baseline), f"Saved as told ${told}, as charged ${true}."])


def _both(lines: int | None) -> tuple[Outcome, Outcome]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, ExitStack() as running:
        home = Path(folder)
        endpoints = running.enter_context(local_servers(home, {"kafka", "redis", "postgres"}))
        model = running.enter_context(rehearsed_model(home, _LATENCY_SECONDS))
        apply_topics(endpoints.kafka or "")
        migrate_postgres(endpoints.postgres or "", datetime.now(UTC))
        running.enter_context(worker(home, endpoints, {"ANTHROPIC_BASE_URL": model}))
        return _run(endpoints, model, "use", lines), _run(endpoints, model, "bypass", lines)


def _run(endpoints: Endpoints, model: str, mode: Mode, lines: int | None) -> Outcome:
    requests = _fleet(mode)[:lines]
    settings = Settings(kafka=endpoints.kafka or "", redis=SecretStr(endpoints.redis or ""))
    results: dict[Any, PromptResult] = {}
    began = time.monotonic()
    options = BulkOptions(
        lane="interactive",
        timeout_seconds=_RUN_SECONDS,
        on_result=lambda result: results.update({result.request_id: result}),
    )
    summary = run_bulk(requests, settings, options=options)
    if summary.unanswered or summary.failed:
        raise FleetBenchError(
            f"{summary.unanswered} requests unanswered, {summary.failed} failed; run: headrace doctor"
        )
    ordered = [results[request.request_id] for request in requests]
    book = model_book(model, [str(request.request_id) for request in requests])
    return Outcome(requests, ordered, book, time.monotonic() - began)


def _fleet(mode: Mode) -> list[PromptRequest]:
    """The demo's requests in their order, with ids of this run's own."""
    policy = CachePolicy(mode=mode)
    requests: list[PromptRequest] = []
    for line in requests_in(Path(str(files("ops.examples") / "fleet.jsonl")), BulkDefaults("bench", uuid7())):
        if isinstance(line, RejectedLine):
            raise FleetBenchError(f"fleet.jsonl, line {line.number}: {line.reason}; run: python -m ops.examples.fleet")
        requests.append(line.model_copy(update={"cache": policy}))
    return requests


def _is_wrong(request: PromptRequest, result: PromptResult) -> bool:
    if result.answer is None:
        return True
    found = checked(request, result.answer)
    return found is not None and not found.valid


def _differing(cached: Outcome, baseline: Outcome) -> int:
    """Rehearsed answers depend on the prompt alone: what a hit gave must be what asking would have given."""
    return sum(_text(one) != _text(other) for one, other in zip(cached.results, baseline.results, strict=True))


def _text(result: PromptResult) -> str | None:
    return None if result.answer is None else result.answer.text


def _share(part: Decimal, whole: Decimal) -> float:
    return round(float(part / whole), 4)


def _told(cached: Outcome, baseline: Outcome) -> str:
    ours, theirs = cached.book, baseline.book
    return (
        f"{len(cached.requests)} requests: {ours.calls} calls instead of {theirs.calls}, "
        f"${ours.cost_usd} instead of ${theirs.cost_usd}. Answers are rehearsed, prices are the model's."
    )
