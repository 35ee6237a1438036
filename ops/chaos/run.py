"""Rounds of faults on a stage, each ending in one row."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ops.chaos.books import (
    Bookmarks,
    ambiguous_calls,
    clickhouse_book,
    count_copies,
    leaks_in,
    model_book,
    postgres_book,
)
from ops.chaos.fault import Fault
from ops.chaos.load import Load
from ops.chaos.offset_watch import OffsetWatch, committed_early
from ops.chaos.opening import open_stage
from ops.chaos.recovery import recovery_seconds
from ops.chaos.stage import Stage
from ops.chaos.verdict import Books, Question, Violation, violations

_CONFIRMED_SECONDS: Final = 180.0
_STORES_SECONDS: Final = 10.0
_LAG_POLL_SECONDS: Final = 0.3
_CALM_LOOKS: Final = 2
"""Lag is zero when it was seen so often in a row: a record may be between two topics while one looks."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one round of one fault came to."""

    fault: str
    round: int
    accepted: int
    results: int
    failed: int
    """Requests that ended without an answer; only where the fault allows it."""
    duplicates_in_topic: int
    model_calls: int
    unique_keys: int
    ambiguous: int
    clickhouse: int
    postgres: int
    invariants_held: bool
    recovery_seconds: float | None
    """From a worker's death (or freeze) to the first completion of what it had in hand; the longest of them."""
    lag_zero_seconds: float
    """From the heal, or the end of the load if that was later, until lag was zero."""
    seconds: float
    violations: Sequence[Violation] = field(default_factory=tuple)
    problem: str | None = None
    """Why there is no verdict."""
    logs: str | None = None

    @property
    def ok(self) -> bool:
        return self.invariants_held and self.problem is None

    def to_json(self) -> dict[str, Any]:
        document = {name: getattr(self, name) for name in self.__slots__}
        told = [{"invariant": v.invariant, "what": v.what, "request_ids": list(v.request_ids)} for v in self.violations]
        return {**document, "violations": told, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Campaign:
    """Which faults, how often, from which seed; `workers` on each stage."""

    faults: Sequence[Fault]
    rounds: int
    seed: int
    workers: int = 2


def run_campaign(campaign: Campaign, report: Callable[[Row], None] = lambda _: None) -> list[Row]:
    """Every fault, every round. Logs are kept where a promise was broken. Call it from the main thread."""
    rows: list[Row] = []
    with contextlib.ExitStack() as shared:
        stage: Stage | None = None
        for number in range(1, campaign.rounds + 1):
            for fault in campaign.faults:
                if fault.own_stage or fault.plan is not None:
                    shared.close()  # two cores carry one stage
                    stage = None
                    with _stage_in_temp(campaign.workers, fault) as own:
                        rows.append(play(own, fault, number, campaign.seed))
                else:
                    stage = stage or shared.enter_context(_stage_in_temp(campaign.workers, fault))
                    rows.append(play(stage, fault, number, campaign.seed))
                    if rows[-1].problem is not None:  # who knows what state it is in
                        shared.close()
                        stage = None
                report(rows[-1])
    return rows


def play(stage: Stage, fault: Fault, number: int, seed: int) -> Row:
    """One round: whole stage, load, fault, heal, calm, books, verdict."""
    began = time.monotonic()
    tenant = f"chaos-{fault.name}-{number}"
    load = Load(stage.endpoints["kafka"], tenant, fault.shape, seed + number - 1)
    try:
        row = _played(stage, fault, number, load, began)
    except Exception as error:  # noqa: BLE001 - one fault without a verdict must not hide the others'
        problem = f"{type(error).__name__}: {error}"
        row = _no_verdict(fault, number, load, time.monotonic() - began, problem)
    finally:
        load.stop()
    if not row.ok:
        stage.keep_logs = True
        row = replace(row, logs=str(stage.home.logs))
    return row


def _played(stage: Stage, fault: Fault, number: int, load: Load, began: float) -> Row:
    stage.whole_again(fault.settings)
    stage.model(latency_seconds=fault.shape.latency_seconds, faults=[], limits=None)
    stage.deaths.clear()
    fault.before(stage)
    bookmarks = Bookmarks.now(stage.endpoints["kafka"])
    with OffsetWatch(load.kafka, bookmarks.requests) as watch:
        load.start()
        try:
            fault.inject(stage, load)
        finally:
            fault.heal(stage)
        stage.until(load.done, _CONFIRMED_SECONDS, "the broker to confirm the load")
        lag, calm_seconds = _calm(stage, fault.expects.lag_seconds)
    books = _read(stage, load, bookmarks, lag, calm_seconds)
    books = replace(
        books,
        committed_early=_early(watch, load, books, bookmarks),
        recovery_seconds=recovery_seconds(stage.deaths, load.accepted, books.topic),
    )
    broken = tuple(violations(books, fault.expects))
    return Row(
        fault=fault.name,
        round=number,
        accepted=len({each.request_id for each in books.accepted}),
        results=len({each.request_id for each in books.topic}),
        failed=len({each.request_id for each in books.topic if each.status != "completed"}),
        duplicates_in_topic=count_copies(books.topic),
        model_calls=len(books.model),
        unique_keys=len({each.key for each in books.accepted}),
        ambiguous=sum(books.ambiguous.values()),
        clickhouse=len(books.clickhouse),
        postgres=len(books.postgres),
        invariants_held=not broken,
        recovery_seconds=books.recovery_seconds,
        lag_zero_seconds=round(calm_seconds, 1),
        seconds=round(time.monotonic() - began, 1),
        violations=broken,
    )


def _early(watch: OffsetWatch, load: Load, books: Books, bookmarks: Bookmarks) -> list[UUID]:
    ended_at = bookmarks.deferred_since()
    for entry in books.topic:
        ended_at[entry.request_id] = min(entry.at, ended_at.get(entry.request_id, entry.at))
    return committed_early(watch.looks, load.accepted, ended_at)


def _calm(stage: Stage, within_seconds: float) -> tuple[int | None, float]:
    """The lag at the end, and how long it took to be zero."""
    began, calm = time.monotonic(), 0
    while True:
        lag = stage.lag()
        calm = calm + 1 if lag == 0 else 0
        seconds = time.monotonic() - began
        if calm == _CALM_LOOKS or seconds > within_seconds:
            return lag, seconds
        stage.wait(_LAG_POLL_SECONDS)


def _read(stage: Stage, load: Load, bookmarks: Bookmarks, lag: int | None, calm_seconds: float) -> Books:
    tenants, settings = load.tenants, stage.settings
    accepted = [Question(each.id, each.request.tenant, each.key) for each in load.accepted]
    ids = {each.request_id for each in accepted}
    stage.came_true(lambda: len(clickhouse_book(settings, tenants)) >= len(ids), _STORES_SECONDS)
    return Books(
        accepted=accepted,
        topic=bookmarks.results_since(tenants),
        model=model_book(stage.endpoints["model"], ids),
        postgres=postgres_book(settings, tenants),
        clickhouse=clickhouse_book(settings, tenants),
        ambiguous=ambiguous_calls(settings, tenants),
        dead_letters=bookmarks.dead_letters_since(),
        strangers=load.strangers,
        refused=len(load.refused),
        lag=lag,
        healed_seconds=calm_seconds,
        leaks=leaks_in(stage.home.logs),
    )


def _no_verdict(fault: Fault, number: int, load: Load, seconds: float, problem: str) -> Row:
    accepted = len({each.id for each in load.accepted})
    nothing = (0, 0, 0, 0, 0, 0, 0, 0)
    return Row(fault.name, number, accepted, *nothing, False, None, 0.0, round(seconds, 1), (), problem)


@contextlib.contextmanager
def _stage_in_temp(workers: int, fault: Fault) -> Iterator[Stage]:
    """A stage in a folder that is removed, but for the logs when something went wrong."""
    root = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    print(f"a private stack comes up in {root}", file=sys.stderr)
    options = {} if fault.plan is None else {"plan": fault.plan}
    with open_stage(root, workers, **options) as stage:
        yield stage
