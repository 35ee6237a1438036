"""The tiers as one: local first, shared for the rest, a lower hit fills the upper; a tier that fails is skipped."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from streams import metrics
from streams.cache.port import AnswerCache, CacheKey, CacheUnavailable
from streams.cache.stored_answer import CacheEntry
from streams.group_commit import GroupCommit
from streams.logs import logger_named

log = logger_named("cache")

Tier = Literal["local_cache", "shared_cache"]

_OWED: Final = 2000
"""Answers that may still be on their way to the shared tier; more of them wait."""


class CacheHit(NamedTuple):
    """An entry and the tier that had it."""

    entry: CacheEntry
    tier: Tier


class TieredCache:
    """Looks up and remembers in both tiers; never raises for a tier that is away."""

    def __init__(self, local: AnswerCache, shared: AnswerCache) -> None:
        self._local = local
        self._shared = shared
        self._puts: GroupCommit[tuple[CacheKey, CacheEntry], None] = GroupCommit(self._put_shared)
        self._owed: set[asyncio.Future[list[None]]] = set()

    async def find_many(self, keys: Sequence[CacheKey]) -> dict[CacheKey, CacheHit]:
        """The hits among `keys`, in at most one round trip."""
        distinct = list(dict.fromkeys(keys))
        found = _hits(distinct, await self._local.get_many(distinct), "local_cache")
        rest = [key for key in distinct if key not in found]
        if rest:
            below = _hits(rest, await self._shared_entries(rest), "shared_cache")
            if below:
                await self._local.put_many({key: hit.entry for key, hit in below.items()})
            found |= below
        return found

    async def remember(self, entries: Mapping[CacheKey, CacheEntry], *, replaces: bool = False) -> None:
        """Keep new answers: locally at once, in the shared tier soon, many in one round trip.

        A result need not wait for that: until then the ledger answers whoever asks for the same. One that `replaces`
        another does: nobody who has seen it may be served the old one.
        """
        await self._local.put_many(entries)
        writing = asyncio.ensure_future(self._puts.submit(list(entries.items())))
        self._owed.add(writing)
        writing.add_done_callback(self._owed.discard)
        if replaces or len(self._owed) > _OWED:
            await writing

    async def drained(self) -> None:
        """Return when the shared tier has, or has refused, all that was remembered."""
        await asyncio.gather(*self._owed)

    async def _put_shared(self, entries: Sequence[tuple[CacheKey, CacheEntry]]) -> list[None]:
        try:
            await self._shared.put_many(dict(entries))
        except CacheUnavailable as error:
            metrics.CACHE_ERRORS.labels("put").inc()
            log.warning("shared_cache_unavailable", operation="put", reason=str(error))
        return [None] * len(entries)

    async def _shared_entries(self, keys: Sequence[CacheKey]) -> Sequence[CacheEntry | None]:
        try:
            return await self._shared.get_many(keys)
        except CacheUnavailable as error:
            metrics.CACHE_ERRORS.labels("get").inc()
            log.warning("shared_cache_unavailable", operation="get", reason=str(error))
            return [None] * len(keys)


def _hits(keys: Sequence[CacheKey], entries: Sequence[CacheEntry | None], tier: Tier) -> dict[CacheKey, CacheHit]:
    hits = {key: CacheHit(entry, tier) for key, entry in zip(keys, entries, strict=True) if entry is not None}
    metrics.CACHE_LOOKUPS.labels(tier, "hit").inc(len(hits))
    metrics.CACHE_LOOKUPS.labels(tier, "miss").inc(len(keys) - len(hits))
    return hits
