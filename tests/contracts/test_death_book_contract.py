"""What every book of deaths promises, asked of the one in memory and the one on a real server."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from streams.admission.deaths import DeathBook, Place
from streams.admission.memory_deaths import MemoryDeathBook
from streams.admission.redis_deaths import BOOK_KEY, RedisDeathBook


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    await client.delete(BOOK_KEY)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def book(request: pytest.FixtureRequest) -> DeathBook:
    return MemoryDeathBook() if request.param == "memory" else RedisDeathBook(request.getfixturevalue("redis"))


def a_place(offset: int = 0) -> Place:
    return Place(f"t-{uuid4().hex}", 3, offset)


async def test_an_empty_book_names_no_place(book: DeathBook) -> None:
    assert await book.read() == {}


async def test_deaths_are_counted_by_place(book: DeathBook) -> None:
    twice, once = a_place(), a_place(2**40)
    for place in (twice, once, twice):
        await book.write(place)
    assert await book.read() == {twice: 2, once: 1}


async def test_a_topic_with_odd_signs_in_its_name_is_read_as_it_was_written(book: DeathBook) -> None:
    place = Place("a.b_c-d/e", 0, 0)
    await book.write(place)
    assert await book.read() == {place: 1}


async def test_workers_share_one_book(redis: "Redis") -> None:
    place = a_place()
    await RedisDeathBook(redis).write(place)
    assert await RedisDeathBook(redis).read() == {place: 1}


async def test_the_book_is_forgotten_a_day_after_the_last_entry(redis: "Redis") -> None:
    await RedisDeathBook(redis).write(a_place())
    assert 0 < await redis.ttl(BOOK_KEY) <= 24 * 60 * 60


async def test_what_no_worker_wrote_there_keeps_none_from_starting(redis: "Redis") -> None:
    place = a_place()
    await RedisDeathBook(redis).write(place)
    await redis.hset(BOOK_KEY, mapping={"nonsense": "1", "t/x/1": "1", "t/1/1": "many"})
    assert await RedisDeathBook(redis).read() == {place: 1}


async def test_a_book_that_is_away_is_an_empty_one() -> None:
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    book = RedisDeathBook(client)
    await book.write(a_place())
    assert await book.read() == {}
    await client.aclose()
