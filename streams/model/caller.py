"""The one owner of retries: asks the model until it answers, refuses for good, or the time is up."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from schemas.result import Usage
from streams import metrics
from streams.errors import ModelAmbiguous, ModelBusy, ModelError
from streams.model.port import Model, ModelPrompt, ModelReply

Price = Callable[[str, Usage], Decimal | None]
"""Cost in US dollars of one call of a model; None where the price is unknown."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often and how soon. Times double from `first_delay` up to `longest_delay`."""

    attempts: int = 3
    first_delay: timedelta = timedelta(seconds=0.5)
    longest_delay: timedelta = timedelta(seconds=30)

    def delay_seconds(self, attempt: int, error: ModelError, jitter: float) -> float:
        """Seconds to wait after attempt number `attempt` (from 1); `jitter` in [0, 1) spreads the waiters."""
        longest = self.longest_delay.total_seconds()
        doubled = self.first_delay.total_seconds() * float(2 ** (attempt - 1))
        if isinstance(error, ModelBusy) and error.retry_after_seconds is not None:
            return min(error.retry_after_seconds, longest) * (1 + jitter / 4)
        return min(doubled, longest) * (0.75 + jitter / 2)


@dataclass(frozen=True, slots=True)
class PaidReply:
    """A reply with its price and its history. `cost_usd` is None where the price is unknown."""

    reply: ModelReply
    cost_usd: Decimal | None
    attempts: int
    completed_at: datetime


class CallFailed(Exception):  # noqa: N818 - says what happened
    """No answer within the attempts and the time given; `error` is the last one."""

    def __init__(self, error: ModelError, attempts: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.attempts = attempts


class ModelCaller:
    """Calls `model`, prices the reply, counts both."""

    def __init__(
        self,
        model: Model,
        price: Price,
        rules: RetryRules,
        now: Callable[[], datetime],
        random: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._model = model
        self._price = price
        self._rules = rules
        self._now = now
        self._random = random
        self._sleep = sleep

    async def call(self, prompt: ModelPrompt, deadline: datetime) -> PaidReply:
        """The reply, before `deadline`. Raises CallFailed."""
        for attempt in range(1, self._rules.attempts + 1):
            try:
                reply = await self._model.answer(prompt, self._seconds_until(deadline))
            except ModelError as error:
                metrics.MODEL_CALLS.labels(_outcome(error)).inc()
                await self._wait_or_give_up(error, attempt, deadline)
            else:
                return self._paid(reply, attempt)
        raise AssertionError("the last attempt either returns or raises")

    async def _wait_or_give_up(self, error: ModelError, attempt: int, deadline: datetime) -> None:
        delay = self._rules.delay_seconds(attempt, error, self._random.random())
        may_retry = isinstance(error, ModelBusy | ModelAmbiguous) and attempt < self._rules.attempts
        if not may_retry or delay >= self._seconds_until(deadline):
            raise CallFailed(error, attempt) from error
        await self._sleep(delay)

    def _paid(self, reply: ModelReply, attempts: int) -> PaidReply:
        cost_usd = self._price(reply.model, reply.usage)
        metrics.MODEL_CALLS.labels("answered").inc()
        if cost_usd is None:
            metrics.UNPRICED_CALLS.inc()
        else:
            metrics.COST_USD.inc(float(cost_usd))
        return PaidReply(reply, cost_usd, attempts, self._now())

    def _seconds_until(self, deadline: datetime) -> float:
        return (deadline - self._now()).total_seconds()


def _outcome(error: ModelError) -> str:
    return type(error).__name__.removeprefix("Model").lower()
