"""What quotas promise, asked of counts in memory and of those on a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from producers.gateway.callers import SCOPES, Caller, KeyId, KeyQuotas
from producers.gateway.quotas import QuotaAsk
from streams.quotas.counted_quotas import CountedQuotas
from streams.quotas.memory_counters import MemoryCounters
from streams.quotas.port import Counted, Counters, CountersUnavailableError
from streams.quotas.redis_counters import RedisCounters
from streams.quotas.rules import DAY_SECONDS, Bucket, JobPlaces, QuotaRules, merged, network_of

NOTHING = KeyQuotas()
RARELY = 0.01
"""Calls per second: none comes back while a test runs."""

QuotasOf = Callable[[QuotaRules], CountedQuotas]


def rules_of(
    key: KeyQuotas = NOTHING, tenant: KeyQuotas = NOTHING, user: KeyQuotas = NOTHING, address: KeyQuotas = NOTHING
) -> QuotaRules:
    return QuotaRules(key, tenant, user, address)


def a_caller(tenant: str | None = None, quotas: KeyQuotas = NOTHING) -> Caller:
    name = uuid4().hex
    return Caller(KeyId(name[:12]), tenant or f"tenant-{name}", SCOPES, None, quotas)


def an_ask(
    caller: Caller, requests: int = 1, size_bytes: int = 100, user: str | None = None, address: str = "192.0.2.1"
) -> QuotaAsk:
    return QuotaAsk(caller, requests, size_bytes, user, address)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


def shared_counters(redis: "Redis", gateway: str, prefix: str) -> RedisCounters:
    """Patient ones: a busy machine is no outage."""
    return RedisCounters(redis, gateway, prefix, timeout_seconds=30)


@pytest.fixture(params=["memory", "redis"])
def counters(request: pytest.FixtureRequest) -> Counters:
    if request.param == "memory":
        return MemoryCounters(time.time)
    return shared_counters(request.getfixturevalue("redis"), "one", f"{{headrace:test:{uuid4().hex}}}")


@pytest.fixture
def quotas_of(counters: Counters) -> QuotasOf:
    return lambda rules: CountedQuotas(counters, rules, time.time)


async def allowed(quotas: CountedQuotas, ask: QuotaAsk, calls: int = 20) -> int:
    return sum([(await quotas.spend(ask)).allowed for _ in range(calls)])


async def test_without_a_quota_every_call_goes(quotas_of: QuotasOf) -> None:
    verdict = await quotas_of(rules_of()).spend(an_ask(a_caller()))
    assert (verdict.allowed, verdict.headers) == (True, ())


@pytest.mark.parametrize("subject", ["key", "tenant", "user", "address"])
async def test_a_rate_lets_its_burst_through_and_then_says_how_long_to_wait(quotas_of: QuotasOf, subject: str) -> None:
    quotas = quotas_of(replace(rules_of(), **{subject: KeyQuotas(RARELY, 5)}))
    ask = an_ask(a_caller(), user="ann")
    assert await allowed(quotas, ask) == 5
    refused = await quotas.spend(ask)
    assert refused.refused_by == f"{subject}_rate"
    assert 90 < refused.retry_after_seconds <= 100


async def test_what_was_waited_for_is_there(quotas_of: QuotasOf) -> None:
    quotas, ask = quotas_of(rules_of(KeyQuotas(20, 1))), an_ask(a_caller())
    assert (await quotas.spend(ask)).allowed
    refused = await quotas.spend(ask)
    assert not refused.allowed
    await asyncio.sleep(refused.retry_after_seconds)
    assert (await quotas.spend(ask)).allowed


@pytest.mark.parametrize(("quota", "by"), [("requests_per_day", "key_day"), ("bytes_per_day", "key_bytes")])
async def test_a_day_counts_what_calls_use(quotas_of: QuotasOf, quota: str, by: str) -> None:
    quotas = quotas_of(rules_of(replace(NOTHING, **{quota: 100})))
    caller = a_caller()
    assert (await quotas.spend(an_ask(caller, 60, 60))).allowed
    refused = await quotas.spend(an_ask(caller, 60, 60))
    assert (refused.allowed, refused.refused_by) == (False, by)
    assert 0 < refused.retry_after_seconds <= DAY_SECONDS
    assert (await quotas.spend(an_ask(caller, 40, 40))).allowed
    assert (await quotas.spend(an_ask(caller, 0, 0))).allowed


async def test_nothing_is_allowed_where_a_day_has_none(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(KeyQuotas(requests_per_day=0)))
    assert not (await quotas.spend(an_ask(a_caller()))).allowed


async def test_a_refused_call_takes_from_no_quota(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(key=KeyQuotas(RARELY, 10, 1000), user=KeyQuotas(RARELY, 1)))
    caller = a_caller()
    assert await allowed(quotas, an_ask(caller, user="ann")) == 1
    assert await allowed(quotas, an_ask(caller, user="bob")) == 1
    assert await allowed(quotas, an_ask(caller)) == 8


async def test_quotas_of_one_are_nobody_elses(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(KeyQuotas(RARELY, 1), user=KeyQuotas(RARELY, 1)))
    for _ in range(3):
        assert (await quotas.spend(an_ask(a_caller(), user="ann"))).allowed


async def test_keys_of_one_tenant_share_what_is_the_tenants(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(tenant=KeyQuotas(RARELY, 3)))
    one = a_caller()
    other = a_caller(one.tenant)
    assert await allowed(quotas, an_ask(one), 2) + await allowed(quotas, an_ask(other), 5) == 3


async def test_a_keys_own_quota_stands_before_the_usual_one(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(KeyQuotas(RARELY, 2, 1000)))
    assert await allowed(quotas, an_ask(a_caller(quotas=KeyQuotas(RARELY, 7)))) == 7
    assert await allowed(quotas, an_ask(a_caller())) == 2


async def test_a_customers_ipv6_network_is_one_address(quotas_of: QuotasOf) -> None:
    quotas, caller = quotas_of(rules_of(address=KeyQuotas(RARELY, 2))), a_caller()
    calls = [an_ask(caller, address=f"2001:db8:0:7::{each}") for each in range(1, 5)]
    assert [(await quotas.spend(call)).allowed for call in calls] == [True, True, False, False]
    assert (await quotas.spend(an_ask(caller, address="2001:db8:0:8::1"))).allowed


async def test_headers_say_what_is_left_of_the_keys_quotas(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(KeyQuotas(RARELY, 5, 10), tenant=KeyQuotas(100, 100)))
    headers = dict((await quotas.spend(an_ask(a_caller(), 3))).headers)
    assert headers["RateLimit-Policy"] == '"key_rate";q=5;w=500, "key_day";q=10;w=86400'
    rate, day = headers["RateLimit"].split(", ")
    assert rate == '"key_rate";r=4;t=100'
    assert day.startswith('"key_day";r=7;t=')


async def test_the_headers_of_a_refusal_name_what_refused(quotas_of: QuotasOf) -> None:
    quotas, ask = quotas_of(rules_of(KeyQuotas(RARELY, 100), tenant=KeyQuotas(RARELY, 1))), an_ask(a_caller())
    await quotas.spend(ask)
    headers = dict((await quotas.spend(ask)).headers)
    assert '"tenant_rate";r=0;' in headers["RateLimit"]
    assert '"key_rate";r=99;' in headers["RateLimit"]


async def test_bulk_jobs_take_places_and_give_them_back(quotas_of: QuotasOf) -> None:
    quotas, caller = quotas_of(rules_of(KeyQuotas(bulk_jobs=2))), a_caller()
    assert [(await quotas.begin_job(caller, job)).allowed for job in ("a", "b", "c", "a")] == [True, True, False, True]
    refused = await quotas.begin_job(caller, "c")
    assert (refused.refused_by, refused.retry_after_seconds > 0) == ("key_jobs", True)
    await quotas.end_job(caller, "a")
    await quotas.end_job(caller, "a")
    assert [(await quotas.begin_job(caller, job)).allowed for job in ("c", "d")] == [True, False]


async def test_a_job_that_the_tenant_has_no_place_for_takes_none_of_the_keys(quotas_of: QuotasOf) -> None:
    quotas = quotas_of(rules_of(KeyQuotas(bulk_jobs=2), tenant=KeyQuotas(bulk_jobs=1)))
    one = a_caller()
    other = a_caller(one.tenant)
    assert (await quotas.begin_job(one, "a")).allowed
    assert [(await quotas.begin_job(other, job)).refused_by for job in ("b", "c", "d")] == ["tenant_jobs"] * 3
    await quotas.end_job(one, "a")
    assert (await quotas.begin_job(other, "b")).allowed


async def test_many_calls_at_once_get_no_more_than_there_is(quotas_of: QuotasOf) -> None:
    quotas, caller = quotas_of(rules_of(KeyQuotas(RARELY, 1000, requests_per_day=30))), a_caller()
    verdicts = await asyncio.gather(*(quotas.spend(an_ask(caller)) for _ in range(100)))
    assert sum(verdict.allowed for verdict in verdicts) == 30


async def test_gateways_that_share_are_counted_and_keep_one_quota(redis: "Redis") -> None:
    prefix, caller = f"{{headrace:test:{uuid4().hex}}}", a_caller()
    gateways = [
        CountedQuotas(shared_counters(redis, name, prefix), rules_of(KeyQuotas(RARELY, 6)), time.time) for name in "abc"
    ]
    assert sum([await allowed(gateway, an_ask(caller), 5) for gateway in gateways]) == 6
    counted = [await shared_counters(redis, name, prefix).take([]) for name in "abc"]
    assert counted[-1].gateways == 3


async def test_the_store_holds_no_name_and_every_count_ends(redis: "Redis") -> None:
    prefix, caller = f"{{headrace:test:{uuid4().hex}}}", a_caller("tenant-of-secrets")
    rules = rules_of(*[KeyQuotas(10, 10, 100, 2, 1000)] * 4)
    quotas = CountedQuotas(shared_counters(redis, "one", prefix), rules, time.time)
    await quotas.spend(an_ask(caller, user="ann.example"))
    await quotas.begin_job(caller, "a-job")
    names = [name.decode() async for name in redis.scan_iter(f"{prefix}*")]
    assert len(names) == 15
    assert not any(secret in name for name in names for secret in (caller.tenant, "ann", caller.key_id, "192.0.2"))
    assert all([await redis.ttl(name) > 0 for name in names])


class Breakable:
    """Shared counts that can be taken away."""

    def __init__(self, gateways: int) -> None:
        self.counters = MemoryCounters(time.time)
        self.gateways = gateways
        self.away = False
        self.asked = 0

    async def take(self, buckets: Sequence[Bucket]) -> Counted:
        return replace(await self._there().take(buckets), gateways=self.gateways)

    async def take_place(self, places: Sequence[JobPlaces], job: str) -> JobPlaces | None:
        return await self._there().take_place(places, job)

    async def give_place(self, places: Sequence[JobPlaces], job: str) -> None:
        await self._there().give_place(places, job)

    def _there(self) -> MemoryCounters:
        self.asked += 1
        if self.away:
            raise CountersUnavailableError("away")
        return self.counters


async def test_a_gateway_whose_counts_are_away_keeps_to_its_share() -> None:
    shared = Breakable(gateways=4)
    quotas = CountedQuotas(shared, rules_of(KeyQuotas(RARELY, 40, 100), address=KeyQuotas(RARELY, 400)), time.time)
    caller = a_caller()
    await quotas.spend(an_ask(caller))
    shared.away = True
    assert await allowed(quotas, an_ask(caller), 50) == 10
    assert (await quotas.spend(an_ask(a_caller(), 26))).refused_by == "key_day"
    assert shared.asked == 2


async def test_bulk_jobs_are_bounded_while_the_counts_are_away_too() -> None:
    shared = Breakable(gateways=1)
    shared.away = True
    quotas, caller = CountedQuotas(shared, rules_of(KeyQuotas(bulk_jobs=2)), time.time), a_caller()
    assert [(await quotas.begin_job(caller, job)).allowed for job in "abc"] == [True, True, False]
    await quotas.end_job(caller, "a")
    assert (await quotas.begin_job(caller, "c")).allowed


async def test_a_server_that_is_away_bounds_calls_all_the_same() -> None:
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    quotas = CountedQuotas(RedisCounters(client, "alone"), rules_of(KeyQuotas(RARELY, 3)), time.time)
    assert await allowed(quotas, an_ask(a_caller())) == 3
    await client.aclose()


async def test_a_day_begins_at_midnight_utc() -> None:
    now = 10.0 * DAY_SECONDS - 5
    counters = MemoryCounters(lambda: now)
    bucket = Bucket("key_day", "one", "total", 1, 0, 1)
    assert (await counters.take([bucket])).levels[0].wait_seconds == 0
    assert (await counters.take([bucket])).levels[0].wait_seconds == 5
    now += 5
    assert (await counters.take([bucket])).levels[0].wait_seconds == 0


async def test_counts_in_memory_are_bounded() -> None:
    counters = MemoryCounters(time.time, remembered=10)
    for each in range(100):
        await counters.take([Bucket("key_rate", str(each), "rate", RARELY, 1, 1)])
    assert len(counters._full_at) == 10


@given(st.integers(1, 50), st.integers(1, 9), st.floats(0.5, 100))
def test_the_shares_of_all_gateways_are_no_more_than_the_whole(burst: int, gateways: int, limit: float) -> None:
    rate, total = Bucket("a", "one", "rate", limit, burst, 1), Bucket("b", "one", "total", limit, burst, 1)
    assert rate.shared_by(gateways).limit * gateways <= limit * 1.000001
    assert total.shared_by(gateways).limit * gateways <= limit
    assert rate.shared_by(gateways).burst >= 1


def test_what_a_setting_does_not_name_keeps_its_default() -> None:
    assert merged(KeyQuotas(requests_per_second=5), KeyQuotas(100, 200, 300, 4, 500)) == KeyQuotas(5, 10, 300, 4, 500)
    assert merged(NOTHING, KeyQuotas(100, 200)) == KeyQuotas(100, 200)


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::/64"), ("", "unknown")],
)
def test_an_address_stands_for_who_is_behind_it(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    "wrong", [{"requests_per_second": 0}, {"burst": 0}, {"requests_per_day": -1}, {"bulk_jobs": -1}, {"burst": 10**9}]
)
def test_a_quota_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KeyQuotas(**wrong)
