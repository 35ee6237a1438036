"""Builds who may come in and how much they may do, over real adapters; `gateway_wiring.py` joins it to the routes."""

import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from redis.asyncio import BlockingConnectionPool, Redis

from producers.gateway.callers import KeyRing
from producers.gateway.intake_rules import IntakeRules
from producers.gateway.quotas import Quotas
from producers.uuid7 import uuid7
from streams.access.keys import Pepper
from streams.access.postgres_keys import PostgresKeys
from streams.access.remembered_keys import RememberedKeys, RingRules
from streams.quotas.counted_quotas import CountedQuotas
from streams.quotas.redis_counters import RedisCounters
from streams.quotas.rules import DEFAULTS, QuotaRules, merged
from streams.settings import Settings

_REDIS_CONNECTIONS = 32
_REDIS_TIMEOUT_SECONDS = 0.5


class PepperUnsetError(RuntimeError):
    """Keys cannot be checked."""

    def __init__(self) -> None:
        super().__init__(
            "HEADRACE_KEY_PEPPER is not set; make one with: openssl rand -hex 32 (on the local stack: headrace up)"
        )


def build_access(settings: Settings, owned: AsyncExitStack) -> tuple[KeyRing, Quotas]:
    """The keys and the quotas; what they opened is closed with `owned`. Raises PepperUnsetError."""
    return _keys(settings, owned), _quotas(settings, owned)


def intake_rules(settings: Settings) -> IntakeRules:
    """What anything that comes in is held to."""
    hosts = frozenset(host.lower() for host in settings.gateway_hosts)
    return IntakeRules(hosts=hosts, trusted_proxies=settings.gateway_trusted_proxies)


def _keys(settings: Settings, owned: AsyncExitStack) -> RememberedKeys:
    if settings.key_pepper is None:
        raise PepperUnsetError
    store = PostgresKeys(settings.postgres.get_secret_value())
    owned.push_async_callback(store.aclose)
    rules = RingRules(settings.key_fresh_seconds, settings.key_grace_seconds)
    return RememberedKeys(store, Pepper(settings.key_pepper), lambda: datetime.now(UTC), rules)


def _quotas(settings: Settings, owned: AsyncExitStack) -> CountedQuotas:
    pool = BlockingConnectionPool.from_url(
        settings.redis.get_secret_value(),
        max_connections=_REDIS_CONNECTIONS,
        timeout=_REDIS_TIMEOUT_SECONDS,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    redis = Redis.from_pool(pool)
    owned.push_async_callback(redis.aclose)
    rules = QuotaRules(
        key=merged(settings.quota_key, DEFAULTS.key),
        tenant=merged(settings.quota_tenant, DEFAULTS.tenant),
        user=merged(settings.quota_user, DEFAULTS.user),
        address=merged(settings.quota_address, DEFAULTS.address),
    )
    return CountedQuotas(RedisCounters(redis, str(uuid7())), rules, time.time)
