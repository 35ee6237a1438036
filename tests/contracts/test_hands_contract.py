"""What is left of workers that ended without a word, asked of the memory adapter and the one on a real server."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from streams.admission.deaths import Place
from streams.admission.in_hand import Hands, Left
from streams.admission.memory_in_hand import MemoryHands
from streams.admission.redis_in_hand import RedisHands
from streams.offsets import Partition


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def hands(request: pytest.FixtureRequest) -> Hands:
    return MemoryHands() if request.param == "memory" else RedisHands(request.getfixturevalue("redis"))


def a_partition(number: int = 0) -> Partition:
    return Partition(f"t.{uuid4().hex}/x", number)


def at(partition: Partition, offset: int) -> Place:
    return Place(partition.topic, partition.number, offset)


async def test_the_first_reader_finds_nothing(hands: Hands) -> None:
    assert await hands.sign_in("first", [a_partition()]) == Left()


async def test_whoever_follows_one_that_never_signed_out_is_told_so(hands: Hands) -> None:
    silent, polite = a_partition(1), a_partition(2)
    await hands.sign_in("first", [silent, polite])
    await hands.sign_out([polite])
    assert await hands.sign_in("second", [silent, polite, a_partition(3)]) == Left(frozenset({silent}))


async def test_ones_own_earlier_entry_is_no_death(hands: Hands) -> None:
    partition = a_partition()
    await hands.sign_in("same", [partition])
    assert await hands.sign_in("same", [partition]) == Left()


async def test_what_was_in_hand_is_found_with_how_many_it_was_together(hands: Hands) -> None:
    partition, other = a_partition(), a_partition(2**31 - 1)
    await hands.sign_in("first", [partition, other])
    await hands.hold([at(partition, 5), at(partition, 2**40), at(other, 0)], together=3)
    await hands.hold([at(partition, 5)], together=1)
    assert await hands.sign_in("second", [partition]) == Left(
        frozenset({partition}), {at(partition, 5): 1, at(partition, 2**40): 3}
    )
    assert (await hands.sign_in("second", [other])).in_hand == {at(other, 0): 3}


async def test_what_was_crossed_out_is_not_found(hands: Hands) -> None:
    partition = a_partition()
    await hands.sign_in("first", [partition])
    await hands.hold([at(partition, 5), at(partition, 6)], together=2)
    await hands.let_go([at(partition, 5), at(partition, 7)])
    assert (await hands.sign_in("second", [partition])).in_hand == {at(partition, 6): 2}


async def test_signing_out_leaves_what_is_in_hand_written_down(hands: Hands) -> None:
    partition = a_partition()
    await hands.sign_in("first", [partition])
    await hands.hold([at(partition, 5)], together=2)
    await hands.sign_out([partition])
    assert await hands.sign_in("second", [partition]) == Left(frozenset(), {at(partition, 5): 2})


async def test_nothing_is_asked_for_nothing(hands: Hands) -> None:
    await hands.hold([], together=0)
    await hands.let_go([])
    await hands.sign_out([])
    assert await hands.sign_in("first", []) == Left()


async def test_what_no_worker_wrote_there_keeps_none_from_starting(redis: "Redis") -> None:
    partition = a_partition()
    hands = RedisHands(redis)
    await hands.hold([at(partition, 5)], together=2)
    nonsense = {"x": "1", "7": "many", "-1": "1", b"\xff": b"\xff"}
    await redis.hset(f"headrace:in-hand:1:{partition.topic}/{partition.number}", mapping=nonsense)  # type: ignore[arg-type]
    assert (await hands.sign_in("first", [partition])).in_hand == {at(partition, 5): 2}


async def test_it_is_forgotten_a_day_after_the_last_entry(redis: "Redis") -> None:
    partition = a_partition()
    await RedisHands(redis).hold([at(partition, 5)], together=2)
    assert 0 < await redis.ttl(f"headrace:in-hand:1:{partition.topic}/{partition.number}") <= 24 * 60 * 60


async def test_a_server_that_is_away_knows_of_nobody_and_holds_nobody_up() -> None:
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    hands, partition = RedisHands(client), a_partition()
    await hands.hold([at(partition, 5)], together=1)
    await hands.let_go([at(partition, 5)])
    await hands.sign_out([partition])
    assert await hands.sign_in("first", [partition]) == Left()
    await client.aclose()
