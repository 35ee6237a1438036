"""What every ledger promises: one worker at a time per key, nothing paid twice but what was recorded as ambiguous."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from streams.ledger.port import Claimed, Ended, Held, Known, LedgerUnavailable, RequestKey, Unknown
from streams.ledger.postgres_ledger import PostgresLedger
from tests.ledgers import (
    BROKEN,
    Office,
    a_key,
    a_sending,
    a_wish,
    answered,
    ask,
    ended,
    released,
    sent,
    unknown,
)


@pytest.fixture
def key() -> RequestKey:
    return a_key()


async def test_a_new_key_is_claimed(office: Office, key: RequestKey) -> None:
    assert await ask(office.worker("a"), a_wish(key)) == Claimed(epoch=1, attempts=0, ambiguous=0)


async def test_a_claimed_key_is_held_against_a_living_owner_and_against_itself(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    await ask(office.worker("a"), wish)
    for name, again in (("a", wish), ("a", a_wish(key)), ("b", a_wish(key)), ("b", wish)):
        verdict = await ask(office.worker(name), again)
        assert isinstance(verdict, Held)
        assert verdict.owner.startswith("a")


async def test_a_sent_key_is_held_too(office: Office, key: RequestKey) -> None:
    await sent(office.worker("a"), a_wish(key))
    assert isinstance(await ask(office.worker("b"), a_wish(key)), Held)
    assert isinstance(await ask(office.worker("a"), a_wish(key)), Held)


async def test_verdicts_come_in_the_order_of_the_wishes(office: Office) -> None:
    keys = [a_key() for _ in range(40)]
    await office.worker("b").claim([a_wish(key) for key in keys[::2]])
    verdicts = await office.worker("a").claim([a_wish(key) for key in keys])
    assert [type(verdict) for verdict in verdicts] == [Held, Claimed] * 20


async def test_of_many_wishes_for_one_key_in_one_call_the_first_is_claimed(office: Office, key: RequestKey) -> None:
    verdicts = await office.worker("a").claim([a_wish(key) for _ in range(20)])
    assert [type(verdict) for verdict in verdicts] == [Claimed] + [Held] * 19


async def test_a_fresh_answer_is_known_to_everybody(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    assert await office.worker("a").settle([answered(wish, epoch, call_id, b"\x00\xffyes")]) == [True]
    assert await ask(office.worker("b"), a_wish(key)) == Known(b"\x00\xffyes")
    assert await ask(office.worker("a"), wish) == Known(b"\x00\xffyes")
    assert office.call_state(call_id) == "answered"
    assert office.call_cost(call_id) == Decimal("0.000035")


async def test_a_refresh_takes_only_what_it_paid_for_itself(office: Office, key: RequestKey) -> None:
    first, again = a_wish(key), a_wish(key, refresh=True)
    epoch, call_id = await sent(office.worker("a"), first)
    await office.worker("a").settle([answered(first, epoch, call_id, b"old")])
    epoch, call_id = await sent(office.worker("b"), again)
    await office.worker("b").settle([answered(again, epoch, call_id, b"new")])
    assert await ask(office.worker("a"), again) == Known(b"new")
    assert await ask(office.worker("c"), a_wish(key)) == Known(b"new")
    assert await ask(office.worker("a"), first) == Known(b"old", former=True), "who paid for it keeps it"


async def test_each_former_payer_gets_what_it_paid_for_whatever_has_become_of_the_key_since(
    office: Office, key: RequestKey
) -> None:
    payers = [a_wish(key, refresh=True) for _ in range(3)]
    for number, payer in enumerate(payers):
        epoch, call_id = await sent(office.worker("a"), payer)
        expired = datetime.now(UTC) - timedelta(seconds=1)
        await office.worker("a").settle([answered(payer, epoch, call_id, bytes([number]), expires_at=expired)])
    theirs = [Known(b"\0", former=True), Known(b"\1", former=True), Known(b"\2")]
    for _ in range(2):
        assert await office.worker("b").claim(payers) == theirs
        assert await office.worker("b").claim([a_wish(key, payer.request_id) for payer in payers]) == theirs
        # Claimed by another, then dead with a call under way: what was paid for stays paid for.
        assert not isinstance(await ask(office.worker("c"), a_wish(key)), Known)
    await office.worker("c").mark_sent([a_sending(a_wish(key), 4, uuid4())])
    office.kill("c")
    assert await office.worker("b").claim(payers) == theirs


async def test_another_key_s_former_answer_is_nobody_s_here(office: Office, key: RequestKey) -> None:
    first, again = a_wish(key), a_wish(key, refresh=True)
    for wish, answer in ((first, b"old"), (again, b"new")):
        epoch, call_id = await sent(office.worker("a"), wish)
        await office.worker("a").settle([answered(wish, epoch, call_id, answer)])
    assert isinstance(await ask(office.worker("a"), a_wish(a_key(), first.request_id)), Claimed)


async def test_a_refresh_that_fails_leaves_the_fresh_answer(office: Office, key: RequestKey) -> None:
    first, again = a_wish(key), a_wish(key, refresh=True)
    epoch, call_id = await sent(office.worker("a"), first)
    await office.worker("a").settle([answered(first, epoch, call_id, b"old")])
    epoch, call_id = await sent(office.worker("b"), again)
    assert await ask(office.worker("c"), a_wish(key)) == Known(b"old")
    await office.worker("b").settle([released(again, epoch, call_id, attempts=1)])
    assert await ask(office.worker("c"), a_wish(key)) == Known(b"old")


async def test_an_expired_answer_serves_its_payer_and_nobody_else(office: Office, key: RequestKey) -> None:
    payer, other = a_wish(key), a_wish(key)
    epoch, call_id = await sent(office.worker("a"), payer)
    expired = answered(payer, epoch, call_id, b"old", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await office.worker("a").settle([expired]) == [True]
    assert await ask(office.worker("b"), payer) == Known(b"old")
    assert await ask(office.worker("b"), other) == Claimed(epoch=2, attempts=0, ambiguous=0)
    assert await ask(office.worker("a"), payer) == Known(b"old"), "a payer is served until a newer answer is there"


async def test_a_released_key_keeps_its_count_of_attempts(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    assert await office.worker("a").settle([released(wish, epoch, call_id, attempts=2)]) == [True]
    assert office.call_state(call_id) == "not_paid"
    assert await ask(office.worker("b"), wish) == Claimed(epoch=2, attempts=2, ambiguous=0)


async def test_a_release_without_its_call_still_settles_the_call_of_the_claim(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([released(wish, epoch)])
    assert office.call_state(call_id) == "not_paid"


async def test_a_request_that_ended_ends_the_same_way_again_and_another_may_call(
    office: Office, key: RequestKey
) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    assert await office.worker("a").settle([ended(wish, epoch, call_id, attempts=3)]) == [True]
    assert await ask(office.worker("b"), wish) == Ended(BROKEN, attempts=3)
    assert await ask(office.worker("b"), a_wish(key)) == Claimed(epoch=2, attempts=0, ambiguous=0)


async def test_the_claim_of_a_dead_owner_is_free(office: Office, key: RequestKey) -> None:
    await ask(office.worker("a"), a_wish(key))
    office.kill("a")
    assert await ask(office.worker("b"), a_wish(key)) == Claimed(epoch=2, attempts=0, ambiguous=0)


async def test_what_a_dead_owner_sent_is_ambiguous_and_repeated_once(office: Office, key: RequestKey) -> None:
    _, first = await sent(office.worker("a"), a_wish(key))
    office.kill("a")
    wish = a_wish(key)
    assert await ask(office.worker("b"), wish) == Claimed(epoch=2, attempts=0, ambiguous=1)
    assert office.call_state(first) == "ambiguous"
    second = uuid4()
    await office.worker("b").mark_sent([a_sending(wish, 2, second)])
    office.kill("b")
    assert await ask(office.worker("c"), a_wish(key)) == Unknown(2)
    assert await ask(office.worker("c"), a_wish(key)) == Unknown(2), "asking again counts nothing twice"
    assert office.call_state(second) == "ambiguous"


async def test_a_tenant_that_forbids_it_has_no_ambiguous_call_repeated(office: Office, key: RequestKey) -> None:
    await sent(office.worker("a"), a_wish(key, retry_ambiguous=False))
    office.kill("a")
    for _ in range(2):
        assert await ask(office.worker("b"), a_wish(key, retry_ambiguous=False)) == Unknown(1)


async def test_an_outcome_nobody_saw_may_be_followed_by_one_more_call(office: Office, key: RequestKey) -> None:
    wish, worker = a_wish(key), office.worker("a")
    for seen in (0, 1):
        verdict = await ask(worker, wish)
        assert isinstance(verdict, Claimed)
        assert verdict.ambiguous == seen
        call_id = uuid4()
        await worker.mark_sent([a_sending(wish, verdict.epoch, call_id)])
        assert await worker.settle([unknown(wish, verdict.epoch, call_id)]) == [True]
        assert await worker.settle([unknown(wish, verdict.epoch, call_id)]) == [True]
        assert office.call_state(call_id) == "ambiguous"
    assert await ask(worker, wish) == Unknown(2)


async def test_an_answer_after_an_ambiguous_call_begins_a_new_count(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    await sent(office.worker("a"), a_wish(key))
    office.kill("a")
    epoch, call_id = await sent(office.worker("b"), wish)
    expired = datetime.now(UTC) - timedelta(seconds=1)
    await office.worker("b").settle([answered(wish, epoch, call_id, expires_at=expired)])
    assert await ask(office.worker("b"), a_wish(key)) == Claimed(epoch=3, attempts=0, ambiguous=0)


async def test_settling_twice_changes_nothing(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    for _ in range(2):
        assert await office.worker("a").settle([answered(wish, epoch, call_id)]) == [True]
    both = [answered(wish, epoch, call_id), answered(wish, epoch, call_id)]
    assert await office.worker("a").settle(both) == [True, True]
    assert office.call_state(call_id) == "answered"


async def test_marking_the_same_call_twice_is_one_call_and_another_call_is_refused(
    office: Office, key: RequestKey
) -> None:
    wish, worker = a_wish(key), office.worker("a")
    epoch, call_id = await sent(worker, wish)
    assert await worker.mark_sent([a_sending(wish, epoch, call_id)]) == [True]
    assert await worker.mark_sent([a_sending(wish, epoch, uuid4())]) == [False]
    assert await worker.mark_sent([a_sending(a_wish(a_key()), 1, uuid4())]) == [False]


async def test_a_zombie_may_not_call_once_another_claimed(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    await ask(office.worker("a"), wish)
    office.kill("a")
    await ask(office.worker("b"), a_wish(key))
    assert await office.worker("a").mark_sent([a_sending(wish, 1, uuid4())]) == [False]


async def test_a_late_owner_whose_claim_nobody_took_goes_on(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    await ask(office.worker("a"), wish)
    office.kill("a")
    call_id = uuid4()
    assert await office.worker("a").mark_sent([a_sending(wish, 1, call_id)]) == [True]
    assert await office.worker("a").settle([answered(wish, 1, call_id)]) == [True]


@pytest.mark.parametrize("successor", ["claimed", "sent", "answered", "unknown"])
async def test_the_late_answer_of_a_zombie_is_recorded_and_overwrites_nothing(
    office: Office, key: RequestKey, successor: str
) -> None:
    late, wish = (
        a_wish(key, retry_ambiguous=successor != "unknown"),
        a_wish(key, retry_ambiguous=successor != "unknown"),
    )
    epoch, paid = await sent(office.worker("a"), late)
    office.kill("a")
    verdict = await ask(office.worker("b"), wish)
    call_id = uuid4()
    if successor in {"sent", "answered"}:
        assert await office.worker("b").mark_sent([a_sending(wish, 2, call_id)]) == [True]
    if successor == "answered":
        assert await office.worker("b").settle([answered(wish, 2, call_id, b"second")]) == [True]
    assert await office.worker("a").settle([answered(late, epoch, paid, b"first", cost_usd=Decimal("0.02"))]) == [False]
    assert (office.call_state(paid), office.call_cost(paid)) == ("late", Decimal("0.02"))
    after = await ask(office.worker("c"), a_wish(key, retry_ambiguous=successor != "unknown"))
    match successor:
        case "answered":
            assert after == Known(b"second")
        case "unknown":
            assert after == verdict == Unknown(1)
        case _:
            assert isinstance(after, Held)


async def test_a_zombie_that_learns_it_paid_nothing_says_so(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    office.kill("a")
    await ask(office.worker("b"), a_wish(key))
    assert await office.worker("a").settle([released(wish, epoch, call_id)]) == [False]
    assert office.call_state(call_id) == "not_paid"


async def test_an_answer_without_bytes_is_refused_before_it_is_stored(office: Office, key: RequestKey) -> None:
    wish = a_wish(key)
    epoch, call_id = await sent(office.worker("a"), wish)
    with pytest.raises(ValueError, match="bytes"):
        await office.worker("a").settle([answered(wish, epoch, call_id, expires_at=None)])
    assert isinstance(await ask(office.worker("b"), a_wish(key)), Held)


async def test_many_workers_that_want_the_same_keys_at_once_claim_each_once(office: Office) -> None:
    keys = [a_key() for _ in range(50)]
    workers = [office.worker(f"w{number}") for number in range(8)]
    for _ in range(3):
        wishes = [[a_wish(key) for key in keys[shift:] + keys[:shift]] for shift in range(0, 48, 6)]
        asked = [worker.claim(part) for worker, part in zip(workers, wishes, strict=True)]
        claims = Counter(
            wish.key
            for part, verdicts in zip(wishes, await asyncio.gather(*asked), strict=True)
            for wish, verdict in zip(part, verdicts, strict=True)
            if isinstance(verdict, Claimed)
        )
        assert claims == dict.fromkeys(keys, 1)
        keys = [a_key() for _ in range(50)]


async def test_hundreds_of_wishes_for_one_key_over_eight_workers_make_one_claim(
    office: Office, key: RequestKey
) -> None:
    workers = [office.worker(f"w{number}") for number in range(8)]
    verdicts = await asyncio.gather(*(ask(workers[n % 8], a_wish(key)) for n in range(400)))
    assert Counter(type(verdict) for verdict in verdicts) == {Claimed: 1, Held: 399}


async def test_a_dead_owner_s_key_is_taken_over_once(office: Office) -> None:
    keys = [a_key() for _ in range(30)]
    await office.worker("gone").claim([a_wish(key) for key in keys])
    office.kill("gone")
    workers = [office.worker(f"w{number}") for number in range(8)]
    asked = [worker.claim([a_wish(key) for key in keys]) for worker in workers]
    verdicts = [verdict for part in await asyncio.gather(*asked) for verdict in part]
    assert Counter(type(verdict) for verdict in verdicts) == {Claimed: 30, Held: 210}


async def test_a_ledger_that_is_down_is_unavailable() -> None:
    ledger = PostgresLedger("postgresql://u:secret@127.0.0.1:1/d", "a")
    wish = a_wish(a_key())
    for asked in (
        ledger.claim([wish]),
        ledger.mark_sent([a_sending(wish, 1, uuid4())]),
        ledger.settle([released(wish, 1)]),
    ):
        with pytest.raises(LedgerUnavailable) as told:
            await asked
        assert "secret" not in str(told.value)
    await ledger.aclose()
