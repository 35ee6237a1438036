"""What every store of Idempotency-Keys promises, asked of the one in memory and the one in Postgres."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ops.migrations.apply import migrate_postgres
from producers.gateway.idempotency import IdempotencyStore, IdempotencyUnavailableError, KeyUse
from streams.gateway.memory_idempotency import MemoryIdempotency
from streams.gateway.postgres_idempotency import PostgresIdempotency
from tests.gateway_parts import own_database

LEASE_SECONDS = 0.4
LIFETIME_SECONDS = 3.0


@dataclass(frozen=True)
class Store:
    """A store under test; `lasting` keeps its leases for long, `passed` waits until a time is over."""

    brief: IdempotencyStore
    lasting: IdempotencyStore
    passed: Callable[[float], Awaitable[None]]


@pytest.fixture(scope="module")
def dsn(request: pytest.FixtureRequest) -> str:
    dsn = own_database(request.getfixturevalue("postgres_dsn"))
    migrate_postgres(dsn, datetime.now(UTC))
    return dsn


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        memory = MemoryIdempotency(time.monotonic, LEASE_SECONDS, LIFETIME_SECONDS)
        yield Store(memory, MemoryIdempotency(time.monotonic), asyncio.sleep)
        return
    dsn = request.getfixturevalue("dsn")
    brief, lasting = PostgresIdempotency(dsn, LEASE_SECONDS, LIFETIME_SECONDS), PostgresIdempotency(dsn)
    yield Store(brief, lasting, asyncio.sleep)
    await brief.aclose()
    await lasting.aclose()


def a_use(tenant: str = "acme", body: bytes = b"body") -> KeyUse:
    return KeyUse(tenant, uuid4().bytes, body, uuid4())


def again(use: KeyUse, **changes: object) -> KeyUse:
    return replace(use, request_id=uuid4(), **changes)  # type: ignore[arg-type]


async def test_a_confirmed_key_gives_its_first_id_from_then_on(store: Store) -> None:
    use = a_use()
    assert (await store.lasting.begin(use)).verdict == "begun"
    await store.lasting.confirm(use)
    told = await store.lasting.begin(again(use))
    assert (told.verdict, told.request_id) == ("repeated", use.request_id)


async def test_another_body_is_refused_before_and_after_it_is_confirmed(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    assert (await store.lasting.begin(again(use, body_hash=b"else"))).verdict == "other_body"
    await store.lasting.confirm(use)
    assert (await store.lasting.begin(again(use, body_hash=b"else"))).verdict == "other_body"


async def test_a_key_that_is_being_published_is_busy(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    assert (await store.lasting.begin(again(use))).verdict == "busy"


async def test_a_lost_reply_may_be_asked_for_again(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    told = await store.lasting.begin(use)
    assert (told.verdict, told.request_id) == ("begun", use.request_id)


async def test_after_the_lease_a_repeat_takes_over_under_the_first_id(store: Store) -> None:
    use = a_use()
    await store.brief.begin(use)
    await store.passed(2 * LEASE_SECONDS)
    second = again(use)
    told = await store.brief.begin(second)
    assert (told.verdict, told.request_id) == ("begun", use.request_id)
    await store.brief.confirm(replace(second, request_id=told.request_id))
    assert (await store.brief.begin(again(use))).verdict == "repeated"


async def test_what_may_be_published_is_taken_over_at_once_under_the_first_id(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    await store.lasting.release(use, published=True)
    told = await store.lasting.begin(again(use))
    assert (told.verdict, told.request_id) == ("begun", use.request_id)


async def test_what_was_not_published_is_forgotten(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    await store.lasting.release(use, published=False)
    other = again(use, body_hash=b"else")
    told = await store.lasting.begin(other)
    assert (told.verdict, told.request_id) == ("begun", other.request_id)


async def test_releasing_changes_nothing_of_what_is_confirmed(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    await store.lasting.confirm(use)
    await store.lasting.release(use, published=False)
    assert (await store.lasting.begin(again(use))).verdict == "repeated"


async def test_a_key_is_new_again_after_its_life(store: Store) -> None:
    use = a_use()
    await store.brief.begin(use)
    await store.brief.confirm(use)
    await store.passed(LIFETIME_SECONDS + 0.2)
    fresh = again(use, body_hash=b"else")
    told = await store.brief.begin(fresh)
    assert (told.verdict, told.request_id) == ("begun", fresh.request_id)


async def test_tenants_do_not_meet_under_one_key(store: Store) -> None:
    use = a_use()
    await store.lasting.begin(use)
    theirs = again(use, tenant="globex", body_hash=b"else")
    assert (await store.lasting.begin(theirs)).verdict == "begun"


async def test_of_many_at_once_one_begins(store: Store) -> None:
    use = a_use()
    told = await asyncio.gather(*(store.lasting.begin(again(use)) for _ in range(50)))
    assert sorted(each.verdict for each in told) == ["begun", *["busy"] * 49]
    assert len({each.request_id for each in told}) == 1


async def test_many_keys_at_once_keep_their_own_answers(store: Store) -> None:
    uses = [a_use() for _ in range(300)]
    told = await asyncio.gather(*(store.lasting.begin(use) for use in uses))
    assert [each.request_id for each in told] == [use.request_id for use in uses]
    await asyncio.gather(*(store.lasting.confirm(use) for use in uses))
    assert {each.verdict for each in await asyncio.gather(*(store.lasting.begin(again(use)) for use in uses))} == {
        "repeated"
    }


async def test_postgres_away_is_said_and_not_guessed() -> None:
    away = PostgresIdempotency("postgresql://headrace@127.0.0.1:9/headrace")
    with pytest.raises(IdempotencyUnavailableError):
        await away.begin(a_use())
    await away.aclose()


async def test_postgres_forgets_what_is_long_over(dsn: str) -> None:
    import psycopg

    brief = PostgresIdempotency(dsn, LEASE_SECONDS, lifetime_seconds=-3600)
    lasting = PostgresIdempotency(dsn)
    over, kept = a_use("pruned"), a_use("pruned")
    await brief.begin(over)
    await lasting.begin(kept)
    await lasting.prune()
    with psycopg.connect(dsn) as connection:
        left = connection.execute("SELECT request_id FROM idempotency_keys WHERE tenant = 'pruned'").fetchall()
    assert left == [(kept.request_id,)]
    await brief.aclose()
    await lasting.aclose()
