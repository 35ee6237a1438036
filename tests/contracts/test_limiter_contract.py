"""What the buckets promise, asked of those in memory and those on a real server; and the limiter over both."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from schemas.result import Usage
from schemas.topics import Lane
from streams.limits.buckets import BucketRules, Buckets, BucketsUnavailable, Taken, Visit
from streams.limits.fair_limiter import FairLimiter
from streams.limits.headers import Seen
from streams.limits.memory_buckets import MemoryBuckets
from streams.limits.own_share import SharedOrOwnShare
from streams.limits.port import LimitAsk
from streams.limits.rates import UNKNOWN, Amounts, Configured, Rates
from streams.limits.redis_buckets import RedisBuckets

ONE = Amounts(1.0, 100.0, 50.0)
A_MINUTE_APART = Rates(requests=1.0)

BucketsFor = Callable[..., Buckets]


def rules_of(rates: Rates, *, caps: bool = True, burst_seconds: float = 1.0) -> BucketRules:
    return BucketRules(lambda _: Configured(rates, caps), burst_seconds, ahead_seconds=0.0)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def buckets_for(request: pytest.FixtureRequest) -> BucketsFor:
    client = request.getfixturevalue("redis") if request.param == "redis" else None

    def build(rates: Rates = UNKNOWN, **given: Any) -> Buckets:
        rules = rules_of(rates, **given)
        return MemoryBuckets(rules, time.monotonic) if client is None else RedisBuckets(client, rules, str(uuid4()))

    return build


@pytest.fixture
def family() -> str:
    return f"family-{uuid4().hex}"


async def test_without_a_limit_every_call_goes_at_once(buckets_for: BucketsFor, family: str) -> None:
    taken = await buckets_for().visit(Visit(family, [ONE] * 100, [ONE] * 100))
    assert (taken.interactive, taken.bulk) == ([0.0] * 100, [0.0] * 100)
    assert (taken.rates, taken.reason) == (Rates(), "none")


@pytest.mark.parametrize(
    ("rates", "reason"),
    [
        (Rates(requests=60), "requests"),
        (Rates(input_tokens=6000), "input_tokens"),
        (Rates(output_tokens=3000), "output_tokens"),
        (Rates(60, 9_000_000, 9_000_000), "requests"),
    ],
)
async def test_calls_go_as_far_as_the_scarcest_bucket_allows(
    buckets_for: BucketsFor, family: str, rates: Rates, reason: str
) -> None:
    taken = await buckets_for(rates).visit(Visit(family, [ONE] * 10))
    assert len(taken.interactive) == 2  # one, and a second one on what one second of quiet has saved
    assert taken.reason == reason
    assert 0.5 < taken.wait_seconds <= 1.0


async def test_what_was_taken_is_taken_for_every_later_visit(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=60))
    await buckets.visit(Visit(family, [ONE] * 10))
    assert (await buckets.visit(Visit(family, [ONE]))).interactive == []
    assert len((await buckets.visit(Visit(f"{family}-other", [ONE]))).interactive) == 1


async def test_what_was_not_used_goes_back(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=60, output_tokens=3000))
    await buckets.visit(Visit(family, [ONE, ONE]))
    unused = Amounts(-2.0, -200.0, -100.0)
    assert len((await buckets.visit(Visit(family, [ONE, ONE, ONE], corrections=unused))).interactive) == 2


async def test_what_was_used_beyond_the_estimate_is_charged(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(output_tokens=3000))
    taken = await buckets.visit(Visit(family, [ONE], corrections=Amounts(0.0, 0.0, 600.0)))
    assert taken.interactive == []
    assert 10.0 < taken.wait_seconds <= 11.0


async def test_a_large_call_is_not_kept_waiting_by_small_ones_and_leaves_its_debt(
    buckets_for: BucketsFor, family: str
) -> None:
    buckets = buckets_for(Rates(output_tokens=3000))
    taken = await buckets.visit(Visit(family, [Amounts(1.0, 100.0, 3000.0), ONE]))
    assert len(taken.interactive) == 1
    assert 58.0 < taken.wait_seconds <= 60.0


async def test_the_api_lowers_a_cap_and_does_not_raise_it(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=600))
    lower = Seen(Rates(requests=60), Rates(), 0.0)
    assert (await buckets.visit(Visit(family, seen=lower))).rates == Rates(requests=60)
    higher = Seen(Rates(requests=6000), Rates(), 0.0)
    assert (await buckets.visit(Visit(family, seen=higher))).rates == Rates(requests=600)


async def test_the_api_overrules_a_preset_and_is_remembered(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=600), caps=False)
    await buckets.visit(Visit(family, seen=Seen(Rates(1200, 5000, 1_000_000_000), Rates(), 0.0)))
    assert (await buckets.visit(Visit(family))).rates == Rates(1200, 5000, None)


async def test_what_the_api_says_remains_is_the_most_that_goes(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=600), burst_seconds=5.0)
    little = Seen(Rates(requests=600), Rates(requests=3), 0.0)
    assert len((await buckets.visit(Visit(family, [ONE] * 40, seen=little))).interactive) == 3


async def test_more_remaining_than_was_thought_lifts_what_less_had_set(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(A_MINUTE_APART, burst_seconds=60.0)
    none, all_of_it = (Seen(A_MINUTE_APART, Rates(requests=left), 0.0) for left in (0, 50))
    assert (await buckets.visit(Visit(family, [ONE], seen=none))).interactive == []
    assert len((await buckets.visit(Visit(family, [ONE], seen=all_of_it))).interactive) == 1


async def test_interactive_work_goes_first(buckets_for: BucketsFor, family: str) -> None:
    taken = await buckets_for(Rates(requests=60)).visit(Visit(family, [ONE] * 10, [ONE] * 10))
    assert (len(taken.interactive), len(taken.bulk)) == (2, 0)


async def test_bulk_work_waits_while_another_worker_has_interactive_work(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=60))
    await buckets.visit(Visit(family, [ONE] * 10))
    refilled = Amounts(-5.0, 0.0, 0.0)
    assert (await buckets.visit(Visit(family, bulk=[ONE], corrections=refilled))).bulk == []
    await asyncio.sleep(0.6)
    assert len((await buckets.visit(Visit(family, bulk=[ONE]))).bulk) == 1


async def test_bulk_work_keeps_a_tenth_of_the_tokens(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=60_000), burst_seconds=0.001)
    interactive = bulk = 0
    for _ in range(100):
        taken = await buckets.visit(Visit(family, [ONE] * 100, [ONE] * 100))
        interactive, bulk = interactive + len(taken.interactive), bulk + len(taken.bulk)
        await asyncio.sleep(min(taken.wait_seconds, 0.01))
    assert interactive + bulk > 100
    assert 0.07 <= bulk / (interactive + bulk) <= 0.11


async def test_bulk_work_alone_gets_everything(buckets_for: BucketsFor, family: str) -> None:
    taken = await buckets_for(Rates(requests=600)).visit(Visit(family, bulk=[ONE] * 100))
    assert len(taken.bulk) == 11


async def test_workers_that_share_are_counted(redis: "Redis", family: str) -> None:
    for _ in range(3):
        taken = await RedisBuckets(redis, rules_of(Rates()), str(uuid4())).visit(Visit(family))
    assert taken.workers == 3


class Breakable:
    """Shared buckets that can be taken away."""

    def __init__(self, buckets: Buckets, workers: int) -> None:
        self.buckets = buckets
        self.workers = workers
        self.away = False

    async def visit(self, visit: Visit) -> Taken:
        if self.away:
            raise BucketsUnavailable("away")
        return replace(await self.buckets.visit(visit), workers=self.workers)


async def test_a_worker_whose_buckets_are_away_keeps_to_its_share(family: str) -> None:
    rules = rules_of(Rates(requests=2400))
    shared = Breakable(MemoryBuckets(rules, time.monotonic), workers=4)
    buckets = SharedOrOwnShare(shared, rules, time.monotonic)
    assert len((await buckets.visit(Visit(family, [ONE] * 100))).interactive) == 41
    shared.away = True
    taken = await buckets.visit(Visit(family, [ONE] * 100))
    assert len(taken.interactive) == 11
    assert taken.rates == Rates(requests=2400)


async def test_limits_that_only_the_api_named_hold_without_the_server(family: str) -> None:
    shared = Breakable(MemoryBuckets(rules_of(Rates()), time.monotonic), workers=2)
    buckets = SharedOrOwnShare(shared, rules_of(Rates()), time.monotonic)
    await buckets.visit(Visit(family, seen=Seen(Rates(requests=120), Rates(), 0.0)))
    shared.away = True
    assert len((await buckets.visit(Visit(family, [ONE] * 100))).interactive) == 2


async def test_a_server_that_is_away_is_said_so(family: str) -> None:
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    with pytest.raises(BucketsUnavailable):
        await RedisBuckets(client, rules_of(Rates()), "alone").visit(Visit(family))
    await client.aclose()


class CountingBuckets:
    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self.visits = 0

    async def visit(self, visit: Visit) -> Taken:
        self.visits += 1
        return await self.buckets.visit(visit)


def an_ask(family: str, tenant: str = "meridian", lane: Lane = "interactive") -> LimitAsk:
    return LimitAsk(family, tenant, lane, 100, 50)


def limiter_over(buckets: Buckets) -> FairLimiter:
    return FairLimiter(buckets, {}, time.monotonic)


async def test_many_calls_share_few_round_trips(buckets_for: BucketsFor, family: str) -> None:
    buckets = CountingBuckets(buckets_for(Rates(requests=60_000)))
    limiter = limiter_over(buckets)
    grants = await asyncio.gather(*(limiter.acquire(an_ask(family)) for _ in range(400)))
    assert all(grant is not None and grant.charged for grant in grants)
    assert buckets.visits <= 8


async def test_two_workers_together_keep_to_one_limit(buckets_for: BucketsFor, family: str) -> None:
    buckets = buckets_for(Rates(requests=1200), burst_seconds=0.1)
    workers = [limiter_over(buckets), limiter_over(buckets)]
    began = time.monotonic()
    await asyncio.gather(*(limiter.acquire(an_ask(family)) for limiter in workers for _ in range(20)))
    assert 1.7 <= time.monotonic() - began <= 3.0  # forty at twenty a second, two of them at once


async def test_without_a_limit_no_round_trip_is_made_after_the_first(buckets_for: BucketsFor, family: str) -> None:
    buckets = CountingBuckets(buckets_for())
    limiter = limiter_over(buckets)
    for _ in range(10):
        grant = await limiter.acquire(an_ask(family))
        assert grant is not None
        assert not grant.charged
    assert buckets.visits == 1


async def test_headers_close_what_was_open(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for())
    await limiter.acquire(an_ask(family))
    told = {"anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-requests-remaining": "0"}
    limiter.observe(family, told)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await limiter.acquire(an_ask(family))


async def test_an_unused_grant_serves_the_next_call(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for(A_MINUTE_APART, burst_seconds=0.01))
    grant = await limiter.acquire(an_ask(family))
    assert grant is not None
    limiter.settle(grant, None)
    async with asyncio.timeout(1):
        await limiter.acquire(an_ask(family))


async def test_real_usage_replaces_the_estimate(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for(Rates(output_tokens=60), burst_seconds=0.01))
    grant = await limiter.acquire(an_ask(family))  # 50 tokens: 50 seconds
    assert grant is not None
    limiter.settle(grant, Usage(input_tokens=100, output_tokens=0))
    async with asyncio.timeout(1):
        await limiter.acquire(an_ask(family))


async def test_a_call_that_is_cancelled_while_it_waits_takes_nothing(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for(Rates(requests=120), burst_seconds=0.01))
    await limiter.acquire(an_ask(family))
    crowd = [asyncio.ensure_future(limiter.acquire(an_ask(family))) for _ in range(50)]
    await asyncio.sleep(0)
    for each in crowd:
        each.cancel()
    async with asyncio.timeout(2):
        await limiter.acquire(an_ask(family))


async def test_a_call_not_wanted_any_more_stops_waiting(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for(A_MINUTE_APART, burst_seconds=0.01))
    await limiter.acquire(an_ask(family))
    until = datetime.now(UTC).timestamp() + 0.3
    async with asyncio.timeout(2):
        assert await limiter.acquire(an_ask(family), lambda: datetime.now(UTC).timestamp() < until) is None


async def test_a_small_tenant_overtakes_a_flood(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for(Rates(requests=1200), burst_seconds=0.1))
    flood = [asyncio.ensure_future(limiter.acquire(an_ask(family, "flood"))) for _ in range(300)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1):
        await limiter.acquire(an_ask(family, "small"))
    assert sum(each.done() for each in flood) < 60
    for each in flood:
        each.cancel()


async def test_a_closed_limiter_lets_no_call_go(buckets_for: BucketsFor, family: str) -> None:
    limiter = limiter_over(buckets_for())
    await limiter.acquire(an_ask(family))
    await limiter.aclose()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await limiter.acquire(an_ask(family))
