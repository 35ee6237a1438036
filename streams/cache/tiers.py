"""The tiers as one: local first, shared for the rest, a lower hit fills the upper; a tier that fails is skipped."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from streams import metrics
from streams.cache.port import AnswerCache, CacheKey, CacheUnavailable
from streams.cache.stored_answer import StoredAnswer
from streams.logs import logger_named

log = logger_named("cache")

Tier = Literal["local_cache", "shared_cache"]


class CacheHit(NamedTuple):
    """An answer and the tier that had it."""

    answer: StoredAnswer
    tier: Tier


class TieredCache:
    """Looks up and remembers in both tiers; never raises for a tier that is away."""

    def __init__(self, local: AnswerCache, shared: AnswerCache) -> None:
        self._local = local
        self._shared = shared

    async def find_many(self, keys: Sequence[CacheKey]) -> dict[CacheKey, CacheHit]:
        """The hits among `keys`, in at most one round trip."""
        distinct = list(dict.fromkeys(keys))
        found = _hits(distinct, await self._local.get_many(distinct), "local_cache")
        rest = [key for key in distinct if key not in found]
        if rest:
            below = _hits(rest, await self._shared_answers(rest), "shared_cache")
            if below:
                await self._local.put_many({key: hit.answer for key, hit in below.items()})
            found |= below
        return found

    async def remember(self, answers: Mapping[CacheKey, StoredAnswer]) -> None:
        """Keep new answers in both tiers."""
        await self._local.put_many(answers)
        try:
            await self._shared.put_many(answers)
        except CacheUnavailable as error:
            metrics.CACHE_ERRORS.labels("put").inc()
            log.warning("shared_cache_unavailable", operation="put", reason=str(error))

    async def _shared_answers(self, keys: Sequence[CacheKey]) -> Sequence[StoredAnswer | None]:
        try:
            return await self._shared.get_many(keys)
        except CacheUnavailable as error:
            metrics.CACHE_ERRORS.labels("get").inc()
            log.warning("shared_cache_unavailable", operation="get", reason=str(error))
            return [None] * len(keys)


def _hits(keys: Sequence[CacheKey], answers: Sequence[StoredAnswer | None], tier: Tier) -> dict[CacheKey, CacheHit]:
    hits = {key: CacheHit(answer, tier) for key, answer in zip(keys, answers, strict=True) if answer is not None}
    metrics.CACHE_LOOKUPS.labels(tier, "hit").inc(len(hits))
    metrics.CACHE_LOOKUPS.labels(tier, "miss").inc(len(keys) - len(hits))
    return hits
