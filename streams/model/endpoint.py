"""One of several endpoints: where it is, and what this worker has seen of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from streams import metrics
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelUnavailable
from streams.logs import logger_named
from streams.model.account_limits import AccountLimits
from streams.model.picking import Standing
from streams.model.port import Model, ModelReply

log = logger_named("endpoints")

RestReason = Literal["limited", "busy", "refused"]

_NEWEST_SHARE: Final = 0.2
_HALVED_IN_SECONDS: Final = 60.0
"""A latency that is not measured any more counts for less and less: what was slow is tried again."""
_MOST_MODELS: Final = 64
"""Models are callers' text: no more of them are remembered."""


class ClosableModel(Model, Protocol):
    """A Model with connections of its own."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A key at an address. Endpoints of one `account` share its rate limits; no `models` given: it serves all."""

    name: str
    model: ClosableModel
    account: str
    models: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RestRules:
    """For how many seconds an endpoint is left alone, where another can be asked."""

    refused: float = 30.0
    """After a refused key, account or spend cap; then one call finds out."""
    limited: float = 2.0
    """After a 429 that names no time."""
    longest: float = 60.0
    busy: float = 1.0
    """After a failure; doubled by each further one, at most half of `longest`."""
    unavailable: float = 300.0
    """After it refused a model, for that model alone."""
    losses: int = 3
    """So many answers lost in a row count as a failure."""


@dataclass(frozen=True, slots=True)
class _Rest:
    reason: RestReason
    since: float
    until: float


class Seat:
    """An endpoint at the table: asked by `BalancedModel`, judged by how it answers."""

    def __init__(self, endpoint: Endpoint, limits: AccountLimits, rules: RestRules, now: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self._rules = rules
        self._now = now
        self._in_flight = 0
        self._on_trial = 0
        self._failures = 0
        self._losses = 0
        self._rest: _Rest | None = None
        self._latencies: dict[str, tuple[float, float]] = {}
        self._unavailable_until: dict[str, float] = {}

    def serves(self, model: str) -> bool:
        """Whether it is to be asked for `model` at all."""
        return not self.endpoint.models or model in self.endpoint.models

    def standing(self, model: str) -> Standing:
        now = self._now()
        seconds, at = self._latencies.get(model, (0.0, now))
        return Standing(
            seconds * 0.5 ** ((now - at) / _HALVED_IN_SECONDS),
            self._in_flight,
            self.endpoint.weight,
            self.limits.remaining_share(model, now),
            self._takes(model, now),
        )

    def refuses(self, model: str) -> bool:
        """Whether it has lately said that it does not have `model`."""
        return self._unavailable_until.get(model, 0.0) > self._now()

    @property
    def is_refused(self) -> bool:
        return self._rest is not None and self._rest.reason == "refused"

    def rests_seconds(self, model: str) -> float:
        """Until it may be asked for `model` again."""
        until = max(self._rest.until if self._rest else 0.0, self._unavailable_until.get(model, 0.0))
        return max(until - self._now(), 0.0)

    @contextmanager
    def call(self) -> Iterator[None]:
        """While a call is under way there."""
        is_trial = self._rest is not None
        self._in_flight += 1
        self._on_trial += is_trial
        try:
            yield
        finally:
            self._in_flight -= 1
            self._on_trial -= is_trial

    def answered(self, model: str, reply: ModelReply, started: float) -> None:
        """Learn from the answer to a call that was `started` then."""
        now = self._now()
        seconds = now - started
        known = self._latencies.get(model)
        if known is not None or len(self._latencies) < _MOST_MODELS:
            mean = seconds if known is None else known[0] + _NEWEST_SHARE * (seconds - known[0])
            self._latencies[model] = mean, now
            metrics.ENDPOINT_LATENCY_SECONDS.labels(self.endpoint.name).set(mean)
        self.limits.learn(model, reply.limits, now)
        self._failures = self._losses = 0
        if self._rest is not None and started >= self._rest.since:
            log.info("endpoint_takes_calls_again", endpoint=self.endpoint.name, after=self._rest.reason)
            self._rest = None
            self._show()
        self._count("answered")

    def failed(self, model: str, error: ModelError) -> None:
        """Learn from a failure: rest, where the fault is the endpoint's."""
        rules = self._rules
        match error:
            case ModelBusy(limited=True):
                self.limits.learn(model, error.limits, self._now())
                named = error.retry_after_seconds
                self._rest_for("limited", min(rules.limited if named is None else named, rules.longest), error)
            case ModelBusy():
                self._fail(error)
            case ModelPaused():
                self._rest_for("refused", rules.refused, error)
            case ModelUnavailable():
                if model in self._unavailable_until or len(self._unavailable_until) < _MOST_MODELS:
                    self._unavailable_until[model] = self._now() + rules.unavailable
            case ModelAmbiguous():
                self._losses += 1
                if self._losses >= rules.losses:
                    self._fail(error)
            case _:
                pass
        self._count(_outcome(error))

    def _takes(self, model: str, now: float) -> bool:
        if self.refuses(model):
            return False
        # When a rest is over one call goes first.
        return self._rest is None or (now >= self._rest.until and self._on_trial == 0)

    def _fail(self, error: ModelError) -> None:
        self._failures += 1
        seconds = min(self._rules.busy * 2 ** min(self._failures - 1, 10), self._rules.longest / 2)
        self._rest_for("busy", seconds, error)

    def _rest_for(self, reason: RestReason, seconds: float, error: ModelError) -> None:
        now = self._now()
        if self._rest is not None and self._rest.until >= now + seconds:
            return
        self._rest = _Rest(reason, now, now + seconds)
        log.warning("endpoint_rests", endpoint=self.endpoint.name, reason=reason, code=error.code, seconds=seconds)
        self._show()

    def _show(self) -> None:
        for reason in get_args(RestReason):
            rests = self._rest is not None and self._rest.reason == reason
            metrics.ENDPOINT_RESTS.labels(self.endpoint.name, reason).set(rests)

    def _count(self, outcome: str) -> None:
        metrics.ENDPOINT_CALLS.labels(self.endpoint.name, outcome).inc()


def _outcome(error: ModelError) -> str:
    return type(error).__name__.removeprefix("Model").lower()
