"""What every cache tier promises, asked of the one in memory and the one on a real server; and the two together."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from schemas.identity import Fingerprint
from streams.cache.memory_cache import MemoryCache
from streams.cache.port import AnswerCache, CacheKey, CacheUnavailable, cache_key_of
from streams.cache.redis_cache import RedisCache
from streams.cache.tiers import TieredCache
from tests.builders import Clock, a_key, an_entry

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    """Begins at the true time: the server drops what is expired by its own clock."""
    return Clock(datetime.now(UTC))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def away() -> AsyncIterator["Redis"]:
    """A client of a server that is not there."""
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest, clock: Clock) -> AnswerCache:
    if request.param == "memory":
        return MemoryCache(2**22, 24 * HOUR, clock)
    return RedisCache(request.getfixturevalue("redis"), clock)


def some_keys(count: int) -> list[CacheKey]:
    """Keys that no other test uses."""
    run = uuid4().hex
    return [a_key(f"{run}:{number}") for number in range(count)]


def test_no_key_of_one_tenant_names_an_answer_of_another() -> None:
    fingerprint = Fingerprint("0" * 64)
    assert cache_key_of("meridian", fingerprint) != cache_key_of("aurora", fingerprint)


async def test_entries_come_in_the_order_of_the_keys_asked(cache: AnswerCache, clock: Clock) -> None:
    keys = some_keys(4)
    entries = {key: an_entry(f"answer {number}", clock() + HOUR) for number, key in enumerate(keys)}
    await cache.put_many(entries)
    order = [keys[2], keys[0], keys[3], keys[1], keys[0]]
    assert await cache.get_many(order) == [entries[key] for key in order]


async def test_what_is_absent_is_none_in_its_place(cache: AnswerCache, clock: Clock) -> None:
    known, absent = some_keys(2)
    entry = an_entry(expires_at=clock() + HOUR)
    await cache.put_many({known: entry})
    assert await cache.get_many([absent, known, absent]) == [None, entry, None]


async def test_no_keys_and_no_entries_are_no_work(cache: AnswerCache) -> None:
    await cache.put_many({})
    assert await cache.get_many([]) == []


async def test_an_entry_past_its_time_is_absent(cache: AnswerCache, clock: Clock) -> None:
    [key] = some_keys(1)
    await cache.put_many({key: an_entry(expires_at=clock() + timedelta(minutes=1))})
    clock.advance(59)
    assert await cache.get_many([key]) != [None]
    clock.advance(1.01)
    assert await cache.get_many([key]) == [None]


async def test_an_entry_already_past_its_time_is_not_kept(cache: AnswerCache, clock: Clock) -> None:
    [key] = some_keys(1)
    await cache.put_many({key: an_entry(expires_at=clock() - HOUR)})
    assert await cache.get_many([key]) == [None]


async def test_a_hit_does_not_extend_the_lifetime(cache: AnswerCache, clock: Clock) -> None:
    [key] = some_keys(1)
    await cache.put_many({key: an_entry(expires_at=clock() + timedelta(minutes=1))})
    for _ in range(3):
        clock.advance(19)
        assert await cache.get_many([key]) != [None]
    clock.advance(10)
    assert await cache.get_many([key]) == [None]


async def test_a_newer_answer_replaces_the_older(cache: AnswerCache, clock: Clock) -> None:
    [key] = some_keys(1)
    newer = an_entry("newer", clock() + 2 * HOUR)
    await cache.put_many({key: an_entry("older", clock() + HOUR)})
    await cache.put_many({key: newer})
    assert await cache.get_many([key]) == [newer]


async def test_many_keys_travel_together(cache: AnswerCache, clock: Clock) -> None:
    keys = some_keys(1000)
    entries = {key: an_entry(f"answer {number} \u2603\n", clock() + HOUR) for number, key in enumerate(keys)}
    await cache.put_many(entries)
    assert await cache.get_many(keys) == list(entries.values())


@pytest.mark.parametrize("data", [b"", b"{}", b"soon someone\n{}\n{}", b"1\n2\n3"])
async def test_bytes_that_cannot_be_read_count_as_absent(redis: "Redis", clock: Clock, data: bytes) -> None:
    unreadable, good = some_keys(2)
    entry = an_entry(expires_at=clock() + HOUR)
    cache = RedisCache(redis, clock)
    await cache.put_many({good: entry})
    await redis.set(unreadable, data)
    assert await cache.get_many([unreadable, good]) == [None, entry]


async def test_the_server_forgets_an_entry_by_itself(redis: "Redis", clock: Clock) -> None:
    [key] = some_keys(1)
    await RedisCache(redis, clock).put_many({key: an_entry(expires_at=clock() + HOUR)})
    assert 3_590_000 < await redis.pttl(key) <= 3_600_000


async def test_memory_is_bounded_and_the_least_recently_used_leaves_first(clock: Clock) -> None:
    entry = an_entry(expires_at=clock() + HOUR)
    cache = MemoryCache(3 * entry.size_bytes, HOUR, clock)
    first, second, third, fourth = some_keys(4)
    await cache.put_many(dict.fromkeys([first, second, third], entry))
    await cache.get_many([first])
    await cache.put_many({fourth: entry})
    assert await cache.get_many([first, second, third, fourth]) == [entry, None, entry, entry]
    assert cache.size_bytes == 3 * entry.size_bytes


async def test_memory_keeps_nothing_that_is_larger_than_its_bound(clock: Clock) -> None:
    cache, [key] = MemoryCache(600, HOUR, clock), some_keys(1)
    await cache.put_many({key: an_entry("x" * 1000, clock() + HOUR)})
    assert (await cache.get_many([key]), cache.size_bytes) == ([None], 0)


async def test_replaced_and_expired_entries_give_their_bytes_back(clock: Clock) -> None:
    cache, [key] = MemoryCache(2**20, HOUR, clock), some_keys(1)
    short = an_entry("short", clock() + HOUR)
    await cache.put_many({key: an_entry("longer than the next", clock() + HOUR)})
    await cache.put_many({key: short})
    assert cache.size_bytes == short.size_bytes
    clock.advance(3601)
    await cache.get_many([key])
    assert cache.size_bytes == 0


async def test_memory_forgets_after_its_own_age_whatever_the_entry_allows(clock: Clock) -> None:
    cache, [key] = MemoryCache(2**20, timedelta(minutes=1), clock), some_keys(1)
    await cache.put_many({key: an_entry(expires_at=clock() + HOUR)})
    clock.advance(61)
    assert await cache.get_many([key]) == [None]


async def test_a_server_that_is_away_is_said_so(away: "Redis", clock: Clock) -> None:
    cache, [key] = RedisCache(away, clock), some_keys(1)
    with pytest.raises(CacheUnavailable):
        await cache.get_many([key])
    with pytest.raises(CacheUnavailable):
        await cache.put_many({key: an_entry(expires_at=clock() + HOUR)})


async def test_the_tiers_go_on_without_the_server(away: "Redis", clock: Clock) -> None:
    tiers = TieredCache(MemoryCache(2**20, HOUR, clock), RedisCache(away, clock))
    key, absent = some_keys(2)
    entry = an_entry(expires_at=clock() + HOUR)
    await tiers.remember({key: entry})
    assert await tiers.find_many([key, absent]) == {key: (entry, "local_cache")}


async def test_what_is_remembered_reaches_the_shared_tier(redis: "Redis", clock: Clock) -> None:
    shared, keys = RedisCache(redis, clock), some_keys(3)
    entry = an_entry(expires_at=clock() + HOUR)
    tiers = TieredCache(MemoryCache(2**20, HOUR, clock), shared)
    for key in keys:
        await tiers.remember({key: entry})
    await tiers.drained()
    assert await shared.get_many(keys) == [entry] * 3


async def test_what_replaces_another_answer_is_in_the_shared_tier_at_once(redis: "Redis", clock: Clock) -> None:
    shared, [key] = RedisCache(redis, clock), some_keys(1)
    old, new = an_entry(expires_at=clock() + HOUR), an_entry(expires_at=clock() + 2 * HOUR)
    await shared.put_many({key: old})
    await TieredCache(MemoryCache(2**20, HOUR, clock), shared).remember({key: new}, replaces=True)
    assert await shared.get_many([key]) == [new]


async def test_a_hit_below_fills_the_tier_above(redis: "Redis", clock: Clock) -> None:
    shared, [key] = RedisCache(redis, clock), some_keys(1)
    entry = an_entry(expires_at=clock() + HOUR)
    await shared.put_many({key: entry})
    tiers = TieredCache(MemoryCache(2**20, HOUR, clock), shared)
    assert await tiers.find_many([key, key]) == {key: (entry, "shared_cache")}
    assert await tiers.find_many([key]) == {key: (entry, "local_cache")}
