"""`FairLimiter`: one desk per model family over buckets that all workers share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from schemas.result import Usage
from streams.limits.buckets import Buckets
from streams.limits.desk import Desk
from streams.limits.headers import seen_in
from streams.limits.port import Grant, LimitAsk
from streams.limits.presets import family_of
from streams.limits.rates import Amounts

_LOOK_SECONDS: Final = 1.0


class FairLimiter:
    """A Limiter for one worker; its buckets raise nothing. `weights` by tenant, 1 where none is given."""

    def __init__(
        self,
        buckets: Buckets,
        weights: Mapping[str, float],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._buckets = buckets
        self._weights = weights
        self._now = now
        self._sleep = sleep
        self._desks: dict[str, Desk] = {}

    async def acquire(self, ask: LimitAsk, wanted: Callable[[], bool] = lambda: True) -> Grant | None:
        """See `Limiter.acquire`."""
        desk = self._desk(ask.model)
        if desk.is_open:
            return Grant(ask, charged=False) if wanted() else None
        return await desk.wait(ask, wanted)

    def settle(self, grant: Grant, usage: Usage | None) -> None:
        """See `Limiter.settle`. What the provider reads from its cache does not count against input tokens."""
        if not grant.charged:
            return
        ask = grant.ask
        if usage is None:
            used = Amounts(-1.0, -ask.input_tokens, -ask.output_tokens)
        else:
            read = usage.input_tokens + usage.cache_write_tokens
            used = Amounts(0.0, read - ask.input_tokens, usage.output_tokens - ask.output_tokens)
        self._desk(ask.model).correct(ask.tenant, ask.lane, used)

    def observe(self, model: str, headers: Mapping[str, str]) -> None:
        """See `Limiter.observe`."""
        seen = seen_in(headers, self._now()) if headers else None
        if seen is not None:
            self._desk(model).see(seen)

    async def aclose(self) -> None:
        """Let no call go any more; to be closed before the model is."""
        for desk in self._desks.values():
            desk.close()

    async def follow(self) -> None:
        """Learn of limits that other workers have met; run it as a task."""
        while True:
            for desk in list(self._desks.values()):
                await desk.look()
            await self._sleep(_LOOK_SECONDS)

    def _desk(self, model: str) -> Desk:
        family = family_of(model)
        if family not in self._desks:
            self._desks[family] = Desk(family, self._buckets, self._weights, self._now, self._sleep)
        return self._desks[family]
