"""One model family's waiting calls in one worker: they are let go in fair order, as the buckets allow."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.topics import Lane
from streams import metrics
from streams.limits.buckets import Buckets, Taken, Visit
from streams.limits.fair_queue import FairQueue
from streams.limits.headers import Seen
from streams.limits.port import Grant, LimitAsk
from streams.limits.rates import NOTHING, UNKNOWN, Amounts

_OFFERED: Final = 128
"""Calls of one lane shown to the buckets at once."""
_PAUSE_SECONDS: Final = 0.05
"""Between two visits while calls wait: each visit then lets several go where the rate is high."""
_LONGEST_PAUSE_SECONDS: Final = 0.5
"""Also how long a call that is not wanted any more may go on waiting."""


@dataclass(slots=True, eq=False)
class _Waiter:
    ask: LimitAsk
    wanted: Callable[[], bool]
    leave: "asyncio.Future[Grant | None]"
    since: float


class Desk:
    """Lets calls go; its only task ends when nobody waits and nothing is left to put right."""

    def __init__(
        self,
        family: str,
        buckets: Buckets,
        weights: Mapping[str, float],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._family = family
        self._buckets = buckets
        self._now = now
        self._sleep = sleep
        self._queues: dict[Lane, FairQueue[_Waiter]] = {"interactive": FairQueue(weights), "bulk": FairQueue(weights)}
        self._arrived: list[_Waiter] = []
        self._corrections = NOTHING
        self._seen: Seen | None = None
        self._rates = UNKNOWN
        self._visited = False
        self._swept_at = 0.0
        self._closed = False
        self._letting_go: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls may go without asking: the buckets know of no limit."""
        return (
            self._visited
            and not self._closed
            and not self._rates.limited
            and (self._seen is None or not self._seen.tells_a_limit)
        )

    async def wait(self, ask: LimitAsk, wanted: Callable[[], bool]) -> Grant | None:
        """Until this call's turn has come; None once it is not wanted."""
        waiter = _Waiter(ask, wanted, asyncio.get_running_loop().create_future(), self._now())
        self._arrived.append(waiter)
        self._start()
        with metrics.LIMIT_WAITING.labels(ask.lane).track_inprogress():
            try:
                return await waiter.leave
            except asyncio.CancelledError:
                self._take_back(waiter)
                raise

    def correct(self, tenant: str, lane: Lane, by: Amounts) -> None:
        """Charge what was used beyond the estimate; negative: give back."""
        self._queues[lane].charge(tenant, by.input_tokens + by.output_tokens)
        limited = (value if rate is not None else 0.0 for value, rate in zip(by, self._rates, strict=True))
        self._corrections = self._corrections.plus(Amounts(*limited))
        if self._corrections != NOTHING:
            self._start()

    def see(self, seen: Seen) -> None:
        """The newest word of the API; goes along with the next visit."""
        self._seen = seen

    async def look(self) -> None:
        """Visit without wanting anything: others may have learnt of a limit. Keeps this worker counted as alive."""
        if self._letting_go is None or self._letting_go.done():
            await self._visit([], [])

    def close(self) -> None:
        """Let nobody go any more: who waits goes on waiting, so that no call begins without its model."""
        self._closed = True
        if self._letting_go is not None:
            self._letting_go.cancel()

    def _start(self) -> None:
        if self._closed:
            return
        if self._letting_go is None or self._letting_go.done():
            self._letting_go = asyncio.get_running_loop().create_task(self._let_go())

    async def _let_go(self) -> None:
        try:
            await self._let_all_go()
        except Exception as error:  # a bug: those who wait must meet it, or they would wait for ever
            for waiter in self._everyone():
                if not waiter.leave.done():
                    waiter.leave.set_exception(error)
            raise

    def _everyone(self) -> list[_Waiter]:
        return [*self._arrived, *(waiter for queue in self._queues.values() for waiter in queue.peek(len(queue)))]

    async def _let_all_go(self) -> None:
        if not self._arrived:
            await self._sleep(2 * _PAUSE_SECONDS)  # only something to put right: let more of it come
        while self._arrived or any(self._queues.values()) or self._corrections != NOTHING:
            self._take_in()
            offers = {lane: queue.peek(_OFFERED) for lane, queue in self._queues.items()}
            taken = await self._visit(offers["interactive"], offers["bulk"])
            self._hand_out("interactive", offers["interactive"], taken.interactive, taken.reason)
            self._hand_out("bulk", offers["bulk"], taken.bulk, taken.reason)
            if any(self._queues.values()) and taken.reason != "none":
                await self._sleep(min(max(taken.wait_seconds, _PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))

    def _take_in(self) -> None:
        arrived, self._arrived = self._arrived, []
        for waiter in arrived:
            self._queues[waiter.ask.lane].put(waiter.ask.tenant, waiter.ask.tokens, waiter)
        if self._now() - self._swept_at >= _LONGEST_PAUSE_SECONDS:
            self._swept_at = self._now()
            for queue in self._queues.values():
                queue.keep(_is_wanted)

    async def _visit(self, interactive: list[_Waiter], bulk: list[_Waiter]) -> Taken:
        corrections, self._corrections = self._corrections, NOTHING
        seen, self._seen = self._seen, None
        asked = [[_amounts(waiter.ask) for waiter in lane] for lane in (interactive, bulk)]
        age_seconds = 0.0 if seen is None else max(self._now() - seen.at_seconds, 0.0)
        taken = await self._buckets.visit(Visit(self._family, asked[0], asked[1], corrections, seen, age_seconds))
        self._rates, self._visited = taken.rates, True
        return taken

    def _hand_out(self, lane: Lane, offered: list[_Waiter], delays: list[float], reason: str) -> None:
        self._queues[lane].drop(len(delays))
        loop = asyncio.get_running_loop()
        for waiter, delay in zip(offered, delays, strict=False):
            waited = self._now() - waiter.since + delay
            metrics.LIMIT_WAIT_SECONDS.labels(reason if waited > _PAUSE_SECONDS else "none").observe(waited)
            grant = Grant(waiter.ask, charged=self._rates.limited)
            if waiter.leave.done():
                self._take_back(waiter, grant)
            elif delay > 0:
                loop.call_later(delay, self._give, waiter, grant)
            else:
                self._give(waiter, grant)

    def _give(self, waiter: _Waiter, grant: Grant) -> None:
        if waiter.leave.done():
            self._take_back(waiter, grant)
        elif not self._closed:
            waiter.leave.set_result(grant)

    def _take_back(self, waiter: _Waiter, grant: Grant | None = None) -> None:
        """Of a caller that has gone: what it was granted, if it was."""
        if grant is None and waiter.leave.done() and not waiter.leave.cancelled():
            grant = waiter.leave.result()
        if grant is not None and grant.charged:
            ask = waiter.ask
            self.correct(ask.tenant, ask.lane, Amounts(-1.0, -ask.input_tokens, -ask.output_tokens))


def _is_wanted(waiter: _Waiter) -> bool:
    if not waiter.leave.done() and not waiter.wanted():
        waiter.leave.set_result(None)
    return not waiter.leave.done()


def _amounts(ask: LimitAsk) -> Amounts:
    return Amounts(1.0, ask.input_tokens, ask.output_tokens)
