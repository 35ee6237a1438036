"""What a store of keys promises, asked of the one in memory and of Postgres; and the ring over both."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.migrations.apply import migrate_postgres
from producers.gateway.callers import KeyId, KeyQuotas, KeysUnavailableError
from streams.access.keys import Pepper, new_key
from streams.access.memory_keys import MemoryKeys
from streams.access.postgres_keys import PostgresKeys
from streams.access.remembered_keys import RememberedKeys, RingRules
from tests.access import NOON, PEPPER, a_stored_key, another_secret, text_of

Store = MemoryKeys | PostgresKeys
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryKeys()
        return
    dsn = request.getfixturevalue("postgres_dsn")
    await asyncio.to_thread(migrate_postgres, dsn, datetime.now(UTC))
    keys = PostgresKeys(dsn)
    yield keys
    await keys.aclose()


async def test_a_key_is_found_as_it_was_added(store: Store) -> None:
    full = a_stored_key(
        new_key(),
        scopes=frozenset({"read"}),
        allowed_models=frozenset({"claude-haiku-5-5"}),
        quotas=KeyQuotas(1.5, 3, 100, 1, 10**12),
        expires_at=NOON + HOUR,
    )
    plain = a_stored_key(new_key())
    for key in (full, plain):
        assert await store.add(key)
        assert await store.find(key.key_id) == key


async def test_an_unknown_key_is_not_found_whatever_it_is_called(store: Store) -> None:
    for name in ("aaaaaaaaaaaa", "", "'; DROP TABLE api_keys; --", "%"):
        assert await store.find(KeyId(name)) is None


async def test_a_second_key_of_one_id_is_refused_and_changes_nothing(store: Store) -> None:
    first = a_stored_key(new_key())
    assert await store.add(first)
    assert not await store.add(replace(first, tenant="another"))
    assert await store.find(first.key_id) == first


async def test_keys_are_listed_newest_first_and_by_tenant(store: Store) -> None:
    ours, theirs = f"ours-{new_key().key_id}", f"theirs-{new_key().key_id}"
    old, new = (a_stored_key(new_key(), ours, created_at=NOON + hours * HOUR) for hours in (0, 1))
    for key in (old, new, a_stored_key(new_key(), theirs)):
        await store.add(key)
    assert await store.listed(ours) == [new, old]
    assert {ours, theirs} <= {key.tenant for key in await store.listed()}


async def test_a_replaced_key_ends_after_the_overlap_and_no_later_than_it_would_have(store: Store) -> None:
    endless, short = a_stored_key(new_key()), a_stored_key(new_key(), expires_at=NOON + HOUR / 2)
    for old, ends in ((endless, NOON + HOUR), (short, NOON + HOUR / 2)):
        new = a_stored_key(new_key())
        await store.add(old)
        assert await store.replace(old.key_id, new, NOON + HOUR)
        assert await store.find(old.key_id) == replace(old, expires_at=ends, replaced_by=new.key_id)
        assert await store.find(new.key_id) == new


async def test_what_is_not_active_is_not_replaced_and_the_new_key_is_not_taken_in(store: Store) -> None:
    revoked, expired, replaced = (
        a_stored_key(new_key()),
        a_stored_key(new_key(), expires_at=NOON),
        a_stored_key(new_key()),
    )
    for key in (revoked, expired, replaced):
        await store.add(key)
    await store.revoke(revoked.key_id, NOON)
    await store.replace(replaced.key_id, a_stored_key(new_key()), NOON + HOUR)
    for old in (revoked.key_id, expired.key_id, replaced.key_id, KeyId("aaaaaaaaaaaa")):
        new = a_stored_key(new_key())
        assert not await store.replace(old, new, NOON + HOUR)
        assert await store.find(new.key_id) is None


async def test_of_two_rotations_at_once_one_wins(store: Store) -> None:
    old = a_stored_key(new_key())
    await store.add(old)
    news = [a_stored_key(new_key()) for _ in range(2)]
    won = await asyncio.gather(*(store.replace(old.key_id, new, NOON + HOUR) for new in news))
    assert sorted(won) == [False, True]
    assert [await store.find(new.key_id) is not None for new in news] == won


async def test_a_revocation_keeps_its_first_moment(store: Store) -> None:
    key = a_stored_key(new_key())
    await store.add(key)
    assert await store.revoke(key.key_id, NOON) == replace(key, revoked_at=NOON)
    assert await store.revoke(key.key_id, NOON + HOUR) == replace(key, revoked_at=NOON)
    assert await store.revoke(KeyId("aaaaaaaaaaaa"), NOON) is None


async def test_a_store_that_is_away_says_so_and_tells_no_secret() -> None:
    keys = PostgresKeys("postgresql://u:secret@127.0.0.1:1/d")
    with pytest.raises(KeysUnavailableError) as told:
        await keys.find(KeyId("aaaaaaaaaaaa"))
    assert "secret" not in str(told.value)
    await keys.aclose()


# The ring over either store.


class Times:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def ticks(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


@pytest.fixture
def times() -> Times:
    return Times()


def a_ring(store: Store, times: Times, **rules: float) -> RememberedKeys:
    return RememberedKeys(store, PEPPER, times.now, RingRules(**rules), times.ticks)  # type: ignore[arg-type]


async def test_a_key_lets_its_owner_in_and_nobody_else(store: Store, times: Times) -> None:
    key, ring = new_key(), a_ring(store, times)
    await store.add(a_stored_key(key, "meridian", scopes=frozenset({"read"})))
    caller = await ring.caller_of(text_of(key))
    assert caller is not None
    assert (caller.tenant, set(caller.scopes), caller.key_id) == ("meridian", {"read"}, key.key_id)
    for wrong in (another_secret(key), new_key()):
        assert await ring.caller_of(text_of(wrong)) is None
    for malformed in ("", "hr_", text_of(key)[:-1], text_of(key) + "x", text_of(key).upper(), "hr_a' OR 1=1_x"):
        assert await ring.caller_of(malformed) is None


async def test_under_another_pepper_no_key_is_good(store: Store, times: Times) -> None:
    key = new_key()
    await store.add(a_stored_key(key))
    other = Pepper(type(key.secret)("another pepper as long"))
    assert await RememberedKeys(store, other, times.now, RingRules(), times.ticks).caller_of(text_of(key)) is None


async def test_a_key_ends_at_its_moment_however_fresh_it_is_known(store: Store, times: Times) -> None:
    key, ring = new_key(), a_ring(store, times, fresh_seconds=100)
    await store.add(a_stored_key(key, expires_at=NOON + timedelta(seconds=5)))
    assert await ring.caller_of(text_of(key)) is not None
    times.seconds = 5
    assert await ring.caller_of(text_of(key)) is None


async def test_a_revocation_is_known_after_the_time_that_was_stated(store: Store, times: Times) -> None:
    key, ring = new_key(), a_ring(store, times, fresh_seconds=3)
    await store.add(a_stored_key(key))
    assert await ring.caller_of(text_of(key)) is not None
    await store.revoke(key.key_id, NOON)
    times.seconds = 3.01
    assert await ring.caller_of(text_of(key)) is None


async def test_a_key_that_was_tried_too_early_is_good_soon(store: Store, times: Times) -> None:
    key, ring = new_key(), a_ring(store, times, fresh_seconds=3)
    assert await ring.caller_of(text_of(key)) is None
    await store.add(a_stored_key(key))
    times.seconds = 3.01
    assert await ring.caller_of(text_of(key)) is not None


async def test_after_a_rotation_both_are_good_until_the_overlap_is_over(store: Store, times: Times) -> None:
    old, new, ring = new_key(), new_key(), a_ring(store, times, fresh_seconds=0)
    await store.add(a_stored_key(old))
    await store.replace(old.key_id, a_stored_key(new), NOON + timedelta(seconds=60))
    times.seconds = 59
    assert [await ring.caller_of(text_of(key)) is not None for key in (old, new)] == [True, True]
    times.seconds = 60
    assert [await ring.caller_of(text_of(key)) is not None for key in (old, new)] == [False, True]


async def test_many_callers_of_one_key_ask_the_store_once(times: Times) -> None:
    store, key = MemoryKeys(), new_key()
    await store.add(a_stored_key(key))
    ring = a_ring(store, times)
    await asyncio.gather(*(ring.caller_of(text_of(key)) for _ in range(100)))
    await asyncio.gather(*(ring.caller_of(text_of(another_secret(key))) for _ in range(100)))
    assert store.asked == 1


async def test_while_the_store_is_away_known_keys_are_good_for_a_while_and_unknown_ones_wait(times: Times) -> None:
    store, key = MemoryKeys(), new_key()
    await store.add(a_stored_key(key))
    ring = a_ring(store, times, fresh_seconds=3, grace_seconds=60)
    await ring.caller_of(text_of(key))
    store.away = True
    times.seconds = 59
    assert await ring.caller_of(text_of(key)) is not None
    assert await ring.caller_of(text_of(another_secret(key))) is None
    with pytest.raises(KeysUnavailableError):
        await ring.caller_of(text_of(new_key()))
    times.seconds = 61
    with pytest.raises(KeysUnavailableError):
        await ring.caller_of(text_of(key))
    store.away = False
    times.seconds = 63
    assert await ring.caller_of(text_of(key)) is not None


async def test_a_store_that_is_away_is_not_asked_by_everybody(times: Times) -> None:
    store = MemoryKeys()
    store.away = True
    ring = a_ring(store, times)
    for _ in range(50):
        with pytest.raises(KeysUnavailableError):
            await ring.caller_of(text_of(new_key()))
    assert store.asked == 1


async def test_a_flood_of_unknown_keys_drives_no_real_one_out_and_fills_no_memory(times: Times) -> None:
    store, key = MemoryKeys(), new_key()
    await store.add(a_stored_key(key))
    ring = a_ring(store, times, remembered=10)
    await ring.caller_of(text_of(key))
    for _ in range(100):
        await ring.caller_of(text_of(new_key()))
    asked = store.asked
    assert await ring.caller_of(text_of(key)) is not None
    assert store.asked == asked
    assert len(ring._unknown) == 10


async def test_a_caller_who_gives_up_does_not_end_the_lookup_of_the_others(times: Times) -> None:
    class Slow(MemoryKeys):
        async def find(self, key_id: KeyId) -> "object":  # type: ignore[override]
            await gate.wait()
            return await super().find(key_id)

    gate, store, key = asyncio.Event(), Slow(), new_key()
    await store.add(a_stored_key(key))
    ring = a_ring(store, times)
    impatient, patient = (asyncio.ensure_future(ring.caller_of(text_of(key))) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await patient is not None
