"""The quotas of a gateway: shared counts while they can be reached, its share of them while they cannot."""

from collections.abc import Callable
from typing import Final

from producers.gateway.callers import Caller
from producers.gateway.quotas import QuotaAsk, QuotaVerdict
from streams.logs import logger_named
from streams.quotas.memory_counters import MemoryCounters
from streams.quotas.port import Counters, CountersUnavailableError
from streams.quotas.rules import JobPlaces, QuotaRules, buckets_of, job_places_of, verdict_of

log = logger_named("quotas")

_AWAY_SECONDS: Final = 2.0
"""How long nobody waits for counters that were away; then one call finds out."""
_JOB_WAIT_SECONDS: Final = 30.0
"""Nobody knows when a running job ends; so long is worth waiting before the next try."""


class CountedQuotas:
    """See `Quotas`. `now` in seconds since the epoch.

    What was counted while the shared counts were away is not added to them: an outage may cost up to one more share of
    a day's quota, never the limit itself.
    """

    def __init__(self, shared: Counters, rules: QuotaRules, now: Callable[[], float]) -> None:
        self._shared = shared
        self._own = MemoryCounters(now)
        self._rules = rules
        self._now = now
        self._gateways = 1
        self._away_until = float("-inf")
        self._away = False

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        buckets = buckets_of(ask, self._rules)
        if self._may_ask():
            try:
                counted = await self._shared.take(buckets)
            except CountersUnavailableError as error:
                self._lose(error)
            else:
                self._find(counted.gateways)
                return verdict_of(buckets, counted.levels)
        shares = [bucket.shared_by(self._gateways) for bucket in buckets]
        return verdict_of(shares, (await self._own.take(shares)).levels)

    async def begin_job(self, caller: Caller, job: str) -> QuotaVerdict:
        places = job_places_of(caller, self._rules)
        full = await self._place(places, job)
        if full is None:
            return QuotaVerdict(allowed=True)
        return QuotaVerdict(allowed=False, retry_after_seconds=_JOB_WAIT_SECONDS, refused_by=full.name)

    async def end_job(self, caller: Caller, job: str) -> None:
        places = job_places_of(caller, self._rules)
        # In both: it may have begun before the shared counts went away, or while they were.
        await self._own.give_place(places, job)
        try:
            await self._shared.give_place(places, job)
        except CountersUnavailableError as error:
            self._lose(error)

    async def _place(self, places: tuple[JobPlaces, ...], job: str) -> JobPlaces | None:
        if self._may_ask():
            try:
                return await self._shared.take_place(places, job)
            except CountersUnavailableError as error:
                self._lose(error)
        # At least one: a share that is rounded to none would stop all bulk work.
        shares = tuple(
            JobPlaces(place.name, place.owner, min(place.limit, max(1, place.limit // self._gateways)))
            for place in places
        )
        return await self._own.take_place(shares, job)

    def _may_ask(self) -> bool:
        return self._now() >= self._away_until

    def _lose(self, error: Exception) -> None:
        self._away_until = self._now() + _AWAY_SECONDS
        if not self._away:
            log.warning("quotas_not_shared", reason=str(error), own_share=f"1/{self._gateways}")
        self._away = True

    def _find(self, gateways: int) -> None:
        if self._away:
            log.info("quotas_shared_again", gateways=gateways)
        self._away = False
        self._gateways = gateways
