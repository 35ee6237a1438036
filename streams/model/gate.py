"""Whether the model may be called now: pauses all workers share, and a breaker per model.

A closed gate holds calls back, it fails none: their records stay unreleased, so the rest of the work stays in Kafka.
When a pause or a break is over, one call goes first; the others follow when it has come back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Protocol

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
    """Where workers tell each other of pauses. Raises nothing: a board that is away is an empty one."""

    async def read(self) -> Mapping[str, Pause]:
        """Every pause by scope."""
        ...

    async def put(self, scope: str, pause: Pause) -> None: ...

    async def clear(self, scope: str) -> None: ...


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


@dataclass(slots=True)
class _Scope:
    """What this worker knows of one scope."""

    pause: Pause | None = None
    probing: bool = False
    failures: int = 0
    breaks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class ModelGate:
    """Ask `enter` before each call, then tell `report` how it went, or `leave` when it was not made."""

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
        self._scopes: dict[str, _Scope] = {}

    async def enter(self, model: str) -> None:
        """Return when a call of `model` may go; every return is to be followed by `report` or `leave`."""
        for name in (ACCOUNT, model):
            scope = self._scopes.setdefault(name, _Scope())
            while not self._may_pass(scope):
                await self._wait(scope)

    async def report(self, model: str, error: ModelError | None) -> None:
        """How the call went: `None` for an answer, also for one that refused the request itself."""
        scope, account = self._scopes[model], self._scopes[ACCOUNT]
        if isinstance(error, ModelPaused):
            await self._hold(ACCOUNT, Pause(self._now() + self._rules.refused_pause, "refused", error.code))
        elif isinstance(error, ModelBusy) and error.limited:
            await self._hold(model, Pause(self._now() + self._limited_for(error), "limited", error.code))
        elif isinstance(error, ModelBusy | ModelAmbiguous):
            await self._count_failure(model, scope, error)
        else:
            await self._open(model, scope)
            await self._open(ACCOUNT, account)
        self.leave(model)

    def leave(self, model: str) -> None:
        """Entered, but no call was made: the next one may go first."""
        for each in (self._scopes[model], self._scopes[ACCOUNT]):
            each.probing = False
            each.changed.set()

    async def follow_board(self) -> None:
        """Take over what other workers and `headrace resume` put on the board; run it as a task."""
        while True:
            posted = await self._board.read()
            for name in posted.keys() | self._scopes.keys():
                scope = self._scopes.setdefault(name, _Scope())
                pause = posted.get(name)
                if pause != scope.pause and not scope.probing:
                    scope.pause = pause
                    scope.changed.set()
            self._show()
            await self._sleep(self._rules.board_seconds)

    def _may_pass(self, scope: _Scope) -> bool:
        if scope.pause is None:
            return True
        if scope.probing or self._now() < scope.pause.until:
            return False
        scope.probing = True
        return True

    async def _wait(self, scope: _Scope) -> None:
        scope.changed.clear()
        pause = scope.pause
        left = (pause.until - self._now()).total_seconds() if pause else 0.0
        with_limit = left if left > 0 else None
        try:
            async with asyncio.timeout(with_limit):
                await scope.changed.wait()
        except TimeoutError:
            return

    async def _hold(self, name: str, pause: Pause) -> None:
        scope = self._scopes.setdefault(name, _Scope())
        if scope.pause is None or pause.until > scope.pause.until:
            scope.pause = pause
            log.warning(
                "calls_paused", scope=name, reason=pause.reason, code=pause.detail, until=pause.until.isoformat()
            )
            await self._board.put(name, pause)
            self._show()

    async def _open(self, name: str, scope: _Scope) -> None:
        scope.failures = scope.breaks = 0
        if scope.pause is not None and scope.pause.until <= self._now():
            log.info("calls_resumed", scope=name, reason=scope.pause.reason)
            scope.pause = None
            await self._board.clear(name)
            self._show()

    async def _count_failure(self, model: str, scope: _Scope, error: ModelError) -> None:
        scope.failures += 1
        was_probe = scope.probing and scope.pause is not None
        if scope.failures >= self._rules.failures_to_break or was_probe:
            scope.breaks += 1
            scope.failures = 0
            rest = min(self._rules.first_break * 2 ** min(scope.breaks - 1, 10), self._rules.longest_break)
            await self._hold(model, Pause(self._now() + rest, "breaker", error.code))

    def _limited_for(self, error: ModelBusy) -> timedelta:
        if error.retry_after_seconds is None:
            return self._rules.unnamed_pause
        return min(timedelta(seconds=error.retry_after_seconds), self._rules.longest_pause)

    def _show(self) -> None:
        for reason in ("limited", "breaker", "refused"):
            held = sum(1 for scope in self._scopes.values() if scope.pause and scope.pause.reason == reason)
            metrics.PAUSED_SCOPES.labels(reason).set(held)
