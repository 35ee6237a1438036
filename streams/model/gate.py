"""Whether the model may be called now: pauses all workers share, and a breaker per model.

A closed gate holds calls back, it fails none: their records stay unreleased, so the rest of the work stays in Kafka.
When a pause or a break is over, one call goes first; the others follow when it has come back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Protocol, get_args

from streams import metrics
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused
from streams.logs import logger_named

log = logger_named("gate")

ACCOUNT: Final = "account"
"""The scope of a pause that holds every model back; any other scope is a model's name."""

PauseReason = Literal["limited", "breaker", "refused"]


class Pause(NamedTuple):
    """No call within a scope before `until`. `detail` is the API's stable code."""

    until: datetime
    reason: PauseReason
    detail: str


class PauseBoard(Protocol):
    """Where workers tell each other of pauses. Raises nothing; while it is away each keeps to what it knows."""

    async def read(self) -> Mapping[str, Pause] | None:
        """Every pause by scope; None while the board is away."""
        ...

    async def put(self, scope: str, pause: Pause) -> bool:
        """Whether it is on the board now."""
        ...

    async def clear(self, scope: str) -> bool:
        """Whether it is off the board now."""
        ...


@dataclass(frozen=True, slots=True)
class GateRules:
    """How long to hold back."""

    longest_pause: timedelta = timedelta(seconds=60)
    """No `retry-after` holds longer than this; then one call finds out."""
    unnamed_pause: timedelta = timedelta(seconds=2)
    """After a 429 that names no time."""
    refused_pause: timedelta = timedelta(seconds=30)
    """After a refused key, account or spend cap; then one call finds out. `headrace resume` ends it at once."""
    failures_to_break: int = 10
    """So many failures in a row open the breaker."""
    first_break: timedelta = timedelta(seconds=2)
    longest_break: timedelta = timedelta(seconds=30)
    board_seconds: float = 0.5
    """How old what a worker knows of the board may be."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """The right to make one call of `model`; for `probes` it goes first, and the others wait for how it ends."""

    model: str
    probes: tuple[str, ...]
    era: int


@dataclass(slots=True)
class _Scope:
    """What this worker knows of one scope."""

    pause: Pause | None = None
    probe: Passage | None = None
    failures: int = 0
    breaks: int = 0
    era: int = 0
    """Raised by every break: what fails after it had entered before it is no news."""
    posted: Pause | None = None
    """What the board was last known to say."""
    writing: int = 0
    written: int = 0


class ModelGate:
    """Ask `enter` before each call, then tell `report` how it went, or `leave` when that says nothing of the model."""

    def __init__(
        self,
        board: PauseBoard,
        rules: GateRules,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._board = board
        self._rules = rules
        self._now = now
        self._sleep = sleep
        self._scopes: defaultdict[str, _Scope] = defaultdict(_Scope)
        self._changed = asyncio.Event()
        self._waiting = 0
        self._ticking: asyncio.Future[None] | None = None

    async def enter(self, model: str, wanted: Callable[[], bool] = lambda: True) -> Passage | None:
        """Wait until a call of `model` may go; None once it is not `wanted`. Every passage is to be given back."""
        # Both at once: a call that waits for its model must not keep the account's only probe from other models.
        while not (self._is_open(ACCOUNT) and self._is_open(model)):
            if not wanted():
                return None
            await self._wait()
        probes = tuple(name for name in (ACCOUNT, model) if self._scopes[name].pause is not None)
        passage = Passage(model, probes, self._scopes[model].era)
        for name in probes:
            self._scopes[name].probe = passage
        return passage

    def is_open_for(self, passage: Passage) -> bool:
        """Whether nothing has closed since `passage` was given: it may have waited elsewhere."""
        scopes = (self._scopes[name] for name in (ACCOUNT, passage.model))
        return all(
            scope.pause is None or (scope.probe is passage and self._now() >= scope.pause.until) for scope in scopes
        )

    def is_broken(self, model: str) -> bool:
        """Whether the breaker of `model` holds calls back: also while one call finds out whether it is over."""
        scope = self._scopes.get(model)
        return (
            scope is not None
            and scope.pause is not None
            and scope.pause.reason == "breaker"
            and not self._is_open(model)
        )

    async def report(self, passage: Passage, error: ModelError | None) -> None:
        """How the call went: `None` for an answer, also for one that refused the request itself. Gives it back."""
        try:
            if isinstance(error, ModelPaused):
                await self._hold(ACCOUNT, Pause(self._now() + self._rules.refused_pause, "refused", error.code))
            elif isinstance(error, ModelBusy) and error.limited:
                await self._hold(passage.model, Pause(self._now() + self._limited_for(error), "limited", error.code))
            elif isinstance(error, ModelBusy | ModelAmbiguous):
                await self._count_failure(passage, error)
            else:
                await self._count_success(passage)
        finally:
            self.leave(passage)

    def leave(self, passage: Passage) -> None:
        """Nothing was learnt: the next call may go first. Safe to repeat."""
        for name in passage.probes:
            if self._scopes[name].probe is passage:
                self._scopes[name].probe = None
                self._wake()

    async def follow_board(self) -> None:
        """Take over what other workers and `headrace resume` put on the board; run it as a task."""
        while True:
            await self.look_at_board()
            await self._sleep(self._rules.board_seconds)

    async def look_at_board(self) -> None:
        """Take over what has changed on the board since it was last looked at."""
        before = {name: scope.written for name, scope in self._scopes.items()}
        posted = await self._board.read()
        if posted is None:
            return
        for name in posted.keys() | self._scopes.keys():
            scope = self._scopes[name]
            # What was read while we wrote may be older than what we wrote.
            if not scope.writing and scope.written == before.get(name, 0) and posted.get(name) != scope.posted:
                scope.posted = posted.get(name)
                scope.pause = self._bounded(scope.posted)
                self._wake()
        self._show()

    def _is_open(self, name: str) -> bool:
        scope = self._scopes[name]
        return scope.pause is None or (scope.probe is None and self._now() >= scope.pause.until)

    async def _wait(self) -> None:
        self._waiting += 1
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.ensure_future(self._tick())
        try:
            await self._changed.wait()
        finally:
            self._waiting -= 1

    async def _tick(self) -> None:
        """Wake those who wait when a pause is over, and now and then to see whether they are still wanted."""
        while self._waiting:
            now = self._now()
            ends = [scope.pause.until for scope in self._scopes.values() if scope.pause and scope.pause.until > now]
            until_end = (min(ends) - now).total_seconds() if ends else self._rules.board_seconds
            await self._sleep(min(until_end, self._rules.board_seconds))
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _hold(self, name: str, pause: Pause) -> None:
        scope = self._scopes[name]
        if scope.pause is not None and pause.until <= scope.pause.until:
            return
        scope.pause = pause
        log.warning("calls_paused", scope=name, reason=pause.reason, code=pause.detail, until=pause.until.isoformat())
        self._show()
        await self._write(scope, pause, self._board.put(name, pause))

    async def _count_success(self, passage: Passage) -> None:
        scope = self._scopes[passage.model]
        scope.failures = scope.breaks = 0
        for name in passage.probes:
            await self._open(name, self._scopes[name])

    async def _open(self, name: str, scope: _Scope) -> None:
        if scope.pause is not None and scope.pause.until <= self._now():
            log.info("calls_resumed", scope=name, reason=scope.pause.reason)
            scope.pause = None
            self._wake()
            self._show()
            await self._write(scope, None, self._board.clear(name))

    async def _count_failure(self, passage: Passage, error: ModelError) -> None:
        scope = self._scopes[passage.model]
        if passage.era != scope.era:
            return
        scope.failures += 1
        if scope.failures >= self._rules.failures_to_break or passage.model in passage.probes:
            scope.era += 1
            scope.breaks += 1
            scope.failures = 0
            rest = min(self._rules.first_break * 2 ** min(scope.breaks - 1, 10), self._rules.longest_break)
            await self._hold(passage.model, Pause(self._now() + rest, "breaker", error.code))

    @staticmethod
    async def _write(scope: _Scope, pause: Pause | None, writing: Awaitable[bool]) -> None:
        scope.writing += 1
        try:
            if await writing:
                scope.posted = pause
        finally:
            scope.writing -= 1
            scope.written += 1

    def _limited_for(self, error: ModelBusy) -> timedelta:
        if error.retry_after_seconds is None:
            return self._rules.unnamed_pause
        return min(timedelta(seconds=error.retry_after_seconds), self._rules.longest_pause)

    def _bounded(self, pause: Pause | None) -> Pause | None:
        """What another worker posted, held no longer than one of ours: its clock may be ahead."""
        rules = self._rules
        longest = max(rules.longest_pause, rules.refused_pause, rules.longest_break)
        return None if pause is None else pause._replace(until=min(pause.until, self._now() + longest))

    def _show(self) -> None:
        for reason in get_args(PauseReason):
            held = sum(1 for scope in self._scopes.values() if scope.pause and scope.pause.reason == reason)
            metrics.PAUSED_SCOPES.labels(reason).set(held)
