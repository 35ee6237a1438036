"""L2: answers shared by all workers, in Redis or Valkey, one round trip for many keys."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.cache.port import CacheKey, CacheUnavailable
from streams.cache.stored_answer import CacheEntry


class RedisCache:
    """An AnswerCache over a client it does not own. Entries it cannot read count as absent."""

    def __init__(self, client: "Redis", now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def get_many(self, keys: Sequence[CacheKey]) -> list[CacheEntry | None]:
        if not keys:
            return []
        try:
            values = await self._client.mget(keys)
        except (RedisError, OSError) as error:
            raise CacheUnavailable(type(error).__name__) from error
        now_ms = self._now().timestamp() * 1000
        return [_fresh(value, now_ms) for value in values]

    async def put_many(self, entries: Mapping[CacheKey, CacheEntry]) -> None:
        now_ms = int(self._now().timestamp() * 1000)
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, entry in entries.items():
                    if entry.expires_at_ms > now_ms:
                        pipeline.set(key, entry.to_bytes(), px=entry.expires_at_ms - now_ms)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise CacheUnavailable(type(error).__name__) from error


def _fresh(value: Any, now_ms: float) -> CacheEntry | None:
    if value is None:
        return None
    try:
        entry = CacheEntry.from_bytes(value)
    except ValueError:
        return None
    return entry if entry.expires_at_ms > now_ms else None
