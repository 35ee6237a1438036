"""The estimate of a file, from what the cache and ClickHouse say; either may be away."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ops.cost.analysts import AnalystsUnavailableError, analysts
from ops.cost.estimate import Estimate, asked_in, estimate
from ops.cost.recent import Recent, recent_calls
from producers.bulk import BulkDefaults, requests_in
from producers.uuid7 import uuid7
from streams.cache.port import CacheKey, CacheUnavailable
from streams.cache.redis_cache import RedisCache
from streams.model.prices import cost_usd
from streams.settings import Settings

_ROUND_TRIP_KEYS: Final = 500
_REDIS_SECONDS: Final = 3.0


def estimate_file(file: Path, tenant: str, settings: Settings, skip: int = 0) -> Estimate:
    """Publishes nothing. The first `skip` requests are left out. Raises BulkFileError."""
    lines = requests_in(file, BulkDefaults(tenant, uuid7()))
    asked = asked_in(lines, settings.default_model, skip)
    cached = asyncio.run(_cached(list(asked.shared), settings))
    return estimate(asked, cached, _recent(settings), cost_usd)


async def _cached(keys: Sequence[CacheKey], settings: Settings) -> set[CacheKey] | None:
    """The keys whose answer is fresh now; None when the cache does not say."""
    redis = Redis.from_url(
        settings.redis.get_secret_value(), socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
    )
    cache, found = RedisCache(redis, lambda: datetime.now(UTC)), set[CacheKey]()
    try:
        # Asked even for no key at all: whether it answers is part of what is told.
        await redis.ping()
        for start in range(0, len(keys), _ROUND_TRIP_KEYS):
            some = keys[start : start + _ROUND_TRIP_KEYS]
            entries = await cache.get_many(some)
            found |= {key for key, entry in zip(some, entries, strict=True) if entry is not None}
    except (CacheUnavailable, RedisError, OSError):
        return None
    finally:
        await redis.aclose()
    return found


def _recent(settings: Settings) -> Recent:
    try:
        with analysts(settings) as client:
            return recent_calls(client, datetime.now(UTC))
    except AnalystsUnavailableError:
        return Recent()
