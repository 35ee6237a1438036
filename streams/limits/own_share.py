"""The shared buckets while they can be reached, and this worker's share of them while they cannot. Never no limit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from streams.limits.buckets import BucketRules, Buckets, BucketsUnavailable, Taken, Visit
from streams.limits.memory_buckets import MemoryBuckets
from streams.limits.rates import Configured, Rates
from streams.logs import logger_named

log = logger_named("limits")

_AWAY_SECONDS: Final = 2.0
"""How long nobody waits for buckets that were away; then one visit finds out."""


class SharedOrOwnShare:
    """Buckets that are always there."""

    def __init__(self, shared: Buckets, rules: BucketRules, now: Callable[[], float]) -> None:
        self._shared = shared
        self._rules = rules
        self._now = now
        self._own = MemoryBuckets(replace(rules, configured=self._share), now)
        self._told: dict[str, Rates] = {}
        self._workers = 1
        self._away_until = float("-inf")
        self._away = False

    async def visit(self, visit: Visit) -> Taken:
        """See `Buckets.visit`; raises nothing."""
        if self._now() >= self._away_until:
            try:
                taken = await self._shared.visit(visit)
            except BucketsUnavailable as error:
                self._lose(error)
            else:
                self._find(visit.family, taken)
                return taken
        if visit.seen is not None:
            self._told[visit.family] = self._rules.configured(visit.family).corrected(visit.seen.limits)
        taken = await self._own.visit(replace(visit, seen=None))
        return replace(taken, rates=self._known(visit.family), workers=self._workers)

    def _share(self, family: str) -> Configured:
        shares = (None if rate is None else rate / self._workers for rate in self._known(family))
        return Configured(Rates(*shares), caps=True)

    def _known(self, family: str) -> Rates:
        return self._told.get(family, self._rules.configured(family).rates)

    def _lose(self, error: BucketsUnavailable) -> None:
        self._away_until = self._now() + _AWAY_SECONDS
        if not self._away:
            log.warning("limits_not_shared", reason=str(error), own_share=f"1/{self._workers}")
        self._away = True

    def _find(self, family: str, taken: Taken) -> None:
        if self._away:
            log.info("limits_shared_again", workers=taken.workers)
        self._away = False
        self._workers = max(taken.workers, 1)
        self._told[family] = taken.rates
