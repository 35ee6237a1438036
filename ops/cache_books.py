"""What the cache holds and earns, and since when which of its answers are good."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from streams.settings import Settings

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS: Final = 5
_KEPT: Final = """
SELECT count(*), coalesce(sum(octet_length(answer)), 0) FROM ledger
WHERE answer IS NOT NULL AND expires_at > clock_timestamp()
"""
_CUTOFFS: Final = "SELECT group_name, fresh_since FROM cache_cutoffs ORDER BY fresh_since DESC"
_SERVED: Final = """
SELECT source, count() AS results, sum(saved_usd) AS saved_usd FROM results
WHERE status = 'completed' AND completed_at > now() - INTERVAL 1 DAY GROUP BY source ORDER BY results DESC
"""

Found = TypeVar("Found")


class CacheUnreadableError(RuntimeError):
    """A store cannot be asked; the message says which."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """One look at the tiers. A store that cannot be asked leaves its part empty and its name in `away`."""

    shared: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    served_last_day: list[dict[str, Any]] = field(default_factory=list)
    invalidated: list[dict[str, Any]] = field(default_factory=list)
    away: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def stats(settings: Settings) -> CacheStats:
    """Counters the stores keep anyway: no key is searched for."""
    away: list[str] = []

    def asked(name: str, ask: Callable[[Settings], Found], otherwise: Found) -> Found:
        try:
            return ask(settings)
        except CacheUnreadableError:
            away.append(name)
            return otherwise

    no_counters: dict[str, int] = {}
    no_rows: list[dict[str, Any]] = []
    shared = asked("redis", _shared, no_counters)
    ledger, invalidated = asked("postgres", _ledger, (no_counters, no_rows))
    served = asked("clickhouse", _served, no_rows)
    return CacheStats(shared, ledger, served, invalidated, away)


def invalidate_group(settings: Settings, group: str) -> datetime:
    """Make every answer of the group stale from now on. Raises CacheUnreadableError."""
    from streams.cache.postgres_cutoffs import invalidate

    with _postgres(settings) as connection:
        return invalidate(connection, group)


def _shared(settings: Settings) -> dict[str, int]:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(settings.redis.get_secret_value(), socket_timeout=_CONNECT_SECONDS) as client:
            known: dict[str, Any] = client.info()
            keys = int(client.dbsize())
    except (RedisError, OSError) as error:
        raise CacheUnreadableError(f"Redis cannot be asked ({type(error).__name__})") from None
    names = ("used_memory", "maxmemory", "evicted_keys", "expired_keys", "keyspace_hits", "keyspace_misses")
    return {"keys": keys} | {name: int(known.get(name, 0)) for name in names}


def _ledger(settings: Settings) -> tuple[dict[str, int], list[dict[str, Any]]]:
    with _postgres(settings) as connection:
        answers, size = connection.execute(_KEPT).fetchone() or (0, 0)
        moments = connection.execute(_CUTOFFS).fetchall()
    return {"answers": int(answers), "bytes": int(size)}, [
        {"group": group, "fresh_since": moment} for group, moment in moments
    ]


def _served(settings: Settings) -> list[dict[str, Any]]:
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        client = clickhouse_connect.get_client(dsn=settings.clickhouse.get_secret_value(), database="headrace")
        found = client.query(_SERVED)
    except (ClickHouseError, OSError) as error:
        raise CacheUnreadableError(f"ClickHouse cannot be asked ({type(error).__name__})") from None
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


@contextmanager
def _postgres(settings: Settings) -> "Iterator[psycopg.Connection[Any]]":
    import psycopg

    try:
        with psycopg.connect(
            settings.postgres.get_secret_value(),
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            prepare_threshold=None,
        ) as connection:
            yield connection
    except psycopg.errors.UndefinedTable:
        raise CacheUnreadableError("Postgres has no cache_cutoffs yet; run: headrace migrate") from None
    except psycopg.Error as error:
        raise CacheUnreadableError(f"Postgres cannot be asked ({type(error).__name__})") from None
