"""L2: answers shared by all workers, in Redis or Valkey, one round trip for many keys."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.cache.port import CacheKey, CacheUnavailable
from streams.cache.stored_answer import StoredAnswer


class RedisCache:
    """An AnswerCache over a client it does not own. Entries it cannot read count as absent."""

    def __init__(self, client: "Redis", now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def get_many(self, keys: Sequence[CacheKey]) -> list[StoredAnswer | None]:
        if not keys:
            return []
        try:
            values = await self._client.mget(keys)
        except (RedisError, OSError) as error:
            raise CacheUnavailable(type(error).__name__) from error
        now = self._now()
        return [_fresh(value, now) for value in values]

    async def put_many(self, answers: Mapping[CacheKey, StoredAnswer]) -> None:
        now = self._now()
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, answer in answers.items():
                    lifetime_ms = int((answer.expires_at - now).total_seconds() * 1000)
                    if lifetime_ms > 0:
                        pipeline.set(key, answer.model_dump_json(), px=lifetime_ms)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise CacheUnavailable(type(error).__name__) from error


def _fresh(value: bytes | str | None, now: datetime) -> StoredAnswer | None:
    if value is None:
        return None
    try:
        stored = StoredAnswer.model_validate_json(value)
    except ValidationError:
        return None
    return stored if stored.is_fresh(now) else None
