"""A model that hangs, drips, resets, refuses: scripted at the rehearsal server's control endpoint.

The overload lasts 20 s, so that every fault fits in 25 minutes; `--full` makes it 60 s.
"""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from ops.chaos.fault import Fault
from ops.chaos.faults.outages import FULL_SECONDS, SHORT_SECONDS, shape_around, under_load
from ops.chaos.load import Load
from ops.chaos.stage import Stage, StageError
from ops.chaos.verdict import Expectation
from ops.resume import resume_calls

Rule = Mapping[str, Any]

_HANG_SECONDS: Final = 12.0
"""Longer than our soft deadline; what hangs has ended before the books are read."""
_WINDOWS: Final = 6
_AT_ONCE: Final = 5
_REFUSAL_SECONDS: Final = 4.0
_CAP_SECONDS: Final = 5.0
# Every retry of the stage's 1, 2 and 4 s is over only after this: the last one always meets a healthy model.
_BURST_SECONDS: Final = 5.0

_NOTHING_UNSEEN: Final = Expectation(ambiguous=False)

_SPENT: Final = (
    {"status": 402, "message": "Your organization has no credit left"},
    {"status": 400, "message": "You have reached your specified API usage limits for this month"},
    {"status": 429, "error_code": "enforced_spend_limit_reached", "retry_after": 1},
)


def heal(stage: Stage) -> None:
    """No fault any more."""
    stage.model(faults=[])


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Answers spoilt on their way, a few at a time, so that a repeated call meets a healthy model."""

    rule: Rule
    windows: int = _WINDOWS
    at_once: int = _AT_ONCE

    def inject(self, stage: Stage, load: Load) -> None:
        under_load(stage, load, 0.1)
        before = _counted(stage, "faults")
        for _ in range(self.windows):
            stage.model(faults=[{**self.rule, "count": self.at_once}])
            stage.wait(1.0)
        spoilt = _counted(stage, "faults").get(self.rule["kind"], 0) - before.get(self.rule["kind"], 0)
        # What hangs is counted at once, what is reset only after the model's latency: so not all of them by now.
        if spoilt < self.at_once:
            raise StageError(f"only {spoilt} answers were spoilt")


@dataclass(frozen=True, slots=True)
class Refusing:
    """Every call is refused, by one rule after the other; each must have refused at least one."""

    rules: Callable[[], Sequence[Rule]]
    seconds_each: float

    def inject(self, stage: Stage, load: Load) -> None:
        under_load(stage, load)
        for rule in self.rules():
            status = str(rule["status"])
            before = _counted(stage, "statuses").get(status, 0)
            stage.model(faults=[rule])
            stage.wait(self.seconds_each)
            if _counted(stage, "statuses").get(status, 0) == before:
                raise StageError(f"no call was refused by {dict(rule)} within {self.seconds_each:g} s")


def _resumed_by_hand(stage: Stage, load: Load) -> None:
    """The pause would last five minutes; the operator ends it."""
    under_load(stage, load)
    stage.model(faults=[_SPENT[0]])
    under_load(stage, load, 1)
    stage.wait(1.0)
    heal(stage)
    calls = _counted(stage, "statuses")
    stage.wait(2.0)
    if _counted(stage, "statuses") != calls:
        raise StageError("calls went on although they were to be paused")
    ended = asyncio.run(resume_calls(stage.endpoints["redis"], None))
    if not any(each["reason"] == "refused" for each in ended):
        raise StageError(f"there was no pause to end: {ended}")


def _counted(stage: Stage, what: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{stage.endpoints['model']}/_rehearsal/summary", timeout=10) as answer:  # noqa: S310
        counts: dict[str, int] = json.load(answer)[what]
    return counts


def _storm() -> Sequence[Rule]:
    """A 429 with each kind of retry-after."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=6), usegmt=True)
    return [
        {"status": 429, "retry_after": 1},
        {"status": 429, "retry_after": "none"},
        {"status": 429, "retry_after": 86_400},
        {"status": 429, "retry_after": soon},
        {"status": 429, "retry_after": "none", "retry_after_ms": 1_500},
    ]


def _spoilt(name: str, story: str, **rule: Any) -> Fault:
    return Fault(name, story, Spoilt(rule).inject, heal)


def _overloaded(seconds: float) -> Fault:
    refusing = Refusing(lambda: [{"status": 529}], seconds)
    story = f"529 for {seconds:g} s: the breaker opens, nothing fails for good"
    expects = Expectation(ambiguous=False, lag_seconds=90)
    return Fault("model-overloaded", story, refusing.inject, heal, shape=shape_around(seconds), expects=expects)


def _refused(name: str, story: str, rules: Callable[[], Sequence[Rule]], count: int, seconds: float) -> Fault:
    """Refused by `count` rules, `seconds` each; no request is to blame, so none fails."""
    shape = shape_around(count * seconds)
    return Fault(name, story, Refusing(rules, seconds).inject, heal, shape=shape, expects=_NOTHING_UNSEEN)


FAULTS: Final = (
    _spoilt("model-hangs", "calls are taken and never answered", kind="hang", seconds=_HANG_SECONDS),
    _spoilt("model-drips", "answers come a few bytes at a time, past the deadline", kind="drip", seconds=_HANG_SECONDS),
    _spoilt("model-resets", "connections are reset before any byte of the answer", kind="reset_before"),
    _spoilt("model-resets-late", "connections are reset after the answer's headers", kind="reset_after_headers"),
    _spoilt("model-cuts", "answers end in the middle of their body", kind="cut"),
    _spoilt("model-garbles", "answers are whole and no JSON", kind="malformed"),
    _refused("model-429-storm", "every call limited, with each kind of retry-after", _storm, 5, _REFUSAL_SECONDS),
    _overloaded(SHORT_SECONDS),
    _refused("model-500s", "every call ends in a 500", lambda: [{"status": 500}], 1, _BURST_SECONDS),
    _refused("spend-cap", "402, the 400 of a spend limit, the 429 of one", lambda: _SPENT, 3, _CAP_SECONDS),
    Fault(
        "spend-cap-resumed",
        "a spend cap that an operator lifts: headrace resume",
        _resumed_by_hand,
        heal,
        settings={"refused_pause_seconds": 300},
        expects=Expectation(ambiguous=False, lag_seconds=20),
    ),
)
FULL: Final = (_overloaded(FULL_SECONDS),)
