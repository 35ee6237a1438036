"""The buckets in memory: for tests, and while the shared ones are away. The script in Redis does the same.

Only the turns of several workers are missing: these buckets are one worker's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streams.limits.buckets import (
    BULK_SHARE,
    CLOCK_GRAIN_SECONDS,
    LANE_MEMORY_SECONDS,
    MAX_CREDIT_TOKENS,
    BucketRules,
    Taken,
    Visit,
)
from streams.limits.rates import DIMENSIONS, UNKNOWN, Amounts, Rates

_FOREVER_AGO = float("-inf")


@dataclass(slots=True)
class _Family:
    """State of one family's buckets; `told_at` is `full_at` as the API's own count has it."""

    full_at: list[float] = field(default_factory=lambda: [_FOREVER_AGO] * 3)
    told_at: list[float] = field(default_factory=lambda: [_FOREVER_AGO] * 3)
    told: Rates = UNKNOWN
    bulk_credit: float = 0.0
    interactive_until: float = _FOREVER_AGO
    bulk_until: float = _FOREVER_AGO


class MemoryBuckets:
    """Buckets of one process; `now` in seconds of any clock."""

    def __init__(self, rules: BucketRules, now: Callable[[], float]) -> None:
        self._rules = rules
        self._now = now
        self._families: dict[str, _Family] = {}

    async def visit(self, visit: Visit) -> Taken:
        """See `Buckets.visit`."""
        family = self._families.setdefault(visit.family, _Family())
        if visit.seen is not None:
            told = zip(visit.seen.limits, family.told, strict=True)
            family.told = Rates(*(known if new is None else new for new, known in told))
        rates = self._rules.configured(visit.family).corrected(family.told)
        taking = _Taking(family, rates, self._rules, self._now())
        taking.put_right(visit)
        return taking.take(visit)


class _Taking:
    def __init__(self, family: _Family, rates: Rates, rules: BucketRules, now: float) -> None:
        self._family = family
        self._rates = rates
        self._rules = rules
        self._now = now
        self._gaps = [None if rate is None else 60.0 / max(rate, 1e-9) for rate in rates]

    def put_right(self, visit: Visit) -> None:
        family, now = self._family, self._now
        for index, gap in enumerate(self._gaps):
            if gap is None:
                continue
            family.full_at[index] = max(family.full_at[index], now) + visit.corrections[index] * gap
            family.told_at[index] += visit.corrections[index] * gap
            remaining = None if visit.seen is None else visit.seen.remaining[index]
            if remaining is not None:
                room = remaining + visit.seen_age_seconds / gap
                family.told_at[index] = now + self._rules.burst_seconds + (1 - room) * gap

    def take(self, visit: Visit) -> Taken:
        family, now = self._family, self._now
        bulk = self._bulk_share(visit.bulk) if visit.interactive or family.interactive_until > now else []
        interactive = self._interactive(visit.interactive, bulk_waits=bool(visit.bulk) or family.bulk_until > now)
        if len(interactive) < len(visit.interactive):
            family.interactive_until = now + LANE_MEMORY_SECONDS
        if family.interactive_until <= now:
            bulk += self._as_far_as_there_is_room(visit.bulk[len(bulk) :])
        if len(bulk) < len(visit.bulk):
            family.bulk_until = now + LANE_MEMORY_SECONDS
        return self._taken(visit, interactive, bulk)

    def _taken(self, visit: Visit, interactive: list[float], bulk: list[float]) -> Taken:
        start, reason = self._start()
        wait = max(0.0, start - self._now - self._rules.ahead_seconds)
        if len(interactive) == len(visit.interactive) and len(bulk) == len(visit.bulk):
            wait, reason = 0.0, "none"
        elif wait == 0.0:
            wait, reason = LANE_MEMORY_SECONDS / 5, "lane"
        return Taken(interactive, bulk, wait, reason, self._rates)

    def _bulk_share(self, asks: Sequence[Amounts]) -> list[float]:
        delays: list[float] = []
        for ask in asks:
            if self._family.bulk_credit < min(_tokens(ask), MAX_CREDIT_TOKENS):
                break
            if (delay := self._grant(ask)) is None:
                break
            self._family.bulk_credit -= _tokens(ask)
            delays.append(delay)
        return delays

    def _interactive(self, asks: Sequence[Amounts], *, bulk_waits: bool) -> list[float]:
        delays = self._as_far_as_there_is_room(asks)
        if bulk_waits:
            earned = sum(map(_tokens, asks[: len(delays)])) * BULK_SHARE / (1 - BULK_SHARE)
            self._family.bulk_credit = min(self._family.bulk_credit + earned, MAX_CREDIT_TOKENS)
        return delays

    def _as_far_as_there_is_room(self, asks: Sequence[Amounts]) -> list[float]:
        delays: list[float] = []
        for ask in asks:
            if (delay := self._grant(ask)) is None:
                break
            delays.append(delay)
        return delays

    def _grant(self, ask: Amounts) -> float | None:
        start, _ = self._start()
        if start > self._now + self._rules.ahead_seconds + CLOCK_GRAIN_SECONDS:
            return None
        for index, gap in enumerate(self._gaps):
            if gap is not None:
                self._family.full_at[index] = max(self._family.full_at[index], self._now) + ask[index] * gap
                self._family.told_at[index] += ask[index] * gap
        return max(0.0, start - self._now)

    def _start(self) -> tuple[float, str]:
        """When the next call may go, and what it waits for."""
        start, reason = self._now, "none"
        for index, gap in enumerate(self._gaps):
            moment = max(self._family.full_at[index], self._family.told_at[index]) - self._rules.burst_seconds
            if gap is not None and moment > start:
                start, reason = moment, DIMENSIONS[index]
        return start, reason


def _tokens(ask: Amounts) -> float:
    return ask.input_tokens + ask.output_tokens
