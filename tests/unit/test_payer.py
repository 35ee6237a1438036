"""One answer for one key, paid at most once: every way a call can end, and every moment a ledger or a worker can go."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from streams import metrics
from streams.cache.port import cache_key_of
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected
from streams.ledger.port import Claimed, Ended, Sending, Settlement, Wish
from streams.model.gate import ACCOUNT, GateRules, Passage
from streams.paying import TOO_LATE, Deferred, NotAnswered, Paid, PayingRules, Withdrawn
from streams.request_key import request_key_of
from streams.retries.policy import RetryPolicy
from tests.answers_by_hand import turns
from tests.builders import A_TIME, MODEL, an_id
from tests.paying import PRICE, PayingWorker, World, asked

BUSY = ModelBusy("overloaded_error", "Later.")
LIMITED = ModelBusy("rate_limit_error", "Slower.", 5.0, limited=True)
PAUSED = ModelPaused("enforced_spend_limit_reached", "The limit is reached.")
REJECTED = ModelRejected("invalid_request_error", "No.")
AMBIGUOUS = ModelAmbiguous("connection_lost", "Gone.")
REFUSED_GAUGE = metrics.PAUSED_SCOPES.labels("refused")


def text_of(paid: Paid) -> str:
    return paid.entry.stored().answer.text


async def end_of(worker: PayingWorker, *given: object, **fields: object) -> NotAnswered:
    with pytest.raises(NotAnswered) as caught:
        await worker.payer.answer(asked(*given, **fields))  # type: ignore[arg-type]
    return caught.value


def states(world: World) -> list[str]:
    return [call.state for call in world.store.calls.values()]


async def test_a_new_key_is_called_for_settled_and_remembered() -> None:
    worker = PayingWorker("vlan 1")
    paid = await worker.payer.answer(asked())
    stored = paid.entry.stored()
    assert (paid.source, text_of(paid), stored.cost_usd, stored.attempts) == ("model", "vlan 1", PRICE, 1)
    assert states(worker.world) == ["answered"]
    key = cache_key_of("meridian", asked().fingerprint)
    assert (await worker.cache.find_many([key]))[key].entry == paid.entry


async def test_the_same_request_again_gets_the_same_without_a_call() -> None:
    world = World()
    first = await PayingWorker("vlan 1", world=world).payer.answer(asked())
    again = PayingWorker(world=world)
    assert (await again.payer.answer(asked())).entry == first.entry
    assert again.calls == 0


async def test_what_may_pass_is_deferred_by_the_retry_policy() -> None:
    worker = PayingWorker(BUSY)
    with pytest.raises(Deferred) as caught:
        await worker.payer.answer(asked(attempts=1))
    assert (caught.value.code, caught.value.attempts) == ("overloaded_error", 2)
    assert caught.value.due_at == A_TIME + timedelta(minutes=2)
    assert states(worker.world) == ["not_paid"]


async def test_a_deferred_request_is_called_again_when_it_comes_back() -> None:
    worker = PayingWorker(BUSY, "vlan 1")
    with pytest.raises(Deferred):
        await worker.payer.answer(asked())
    paid = await worker.payer.answer(asked(attempts=1))
    assert (text_of(paid), paid.entry.stored().attempts) == ("vlan 1", 2)


async def test_the_last_attempt_fails_with_the_apis_code_and_fails_alike_when_redelivered() -> None:
    world = World()
    worker = PayingWorker(BUSY, world=world)
    first = await end_of(worker, attempts=3)
    again = PayingWorker(world=world)
    second = await end_of(again, attempts=3)
    assert (first.error.code, first.error.message, first.attempts) == ("overloaded_error", "Later.", 4)
    assert (second.error, second.attempts, second.status) == (first.error, first.attempts, "failed")
    assert again.calls == 0


async def test_a_retry_that_would_miss_the_deadline_is_not_put_off() -> None:
    worker = PayingWorker(BUSY)
    assert (await end_of(worker, seconds=30)).error.code == "overloaded_error"


async def test_a_rate_limit_burns_no_attempt_and_is_called_again_after_its_pause() -> None:
    worker = PayingWorker(LIMITED, LIMITED, "vlan 1")
    paid = await worker.payer.answer(asked())
    assert (text_of(paid), paid.entry.stored().attempts, worker.calls) == ("vlan 1", 1, 3)
    assert worker.world.clock() == A_TIME + timedelta(seconds=10)
    assert states(worker.world) == ["not_paid", "not_paid", "answered"]


async def test_a_spend_cap_is_waited_for_with_the_alarm_on_until_a_call_goes_through() -> None:
    worker = PayingWorker(PAUSED, PAUSED, "vlan 1")
    alarms = []
    worker.world.at_sleep = lambda: alarms.append(REFUSED_GAUGE._value.get())
    paid = await worker.payer.answer(asked())
    assert (text_of(paid), paid.entry.stored().attempts) == ("vlan 1", 1)
    assert worker.world.clock() == A_TIME + timedelta(seconds=60)
    assert set(alarms) == {1.0}
    assert REFUSED_GAUGE._value.get() == 0


async def test_resuming_ends_the_wait_at_once() -> None:
    worker = PayingWorker(PAUSED, "vlan 1", gate_rules=GateRules(refused_pause=timedelta(hours=1)))
    answered = asyncio.create_task(worker.payer.answer(asked()))
    await turns()
    await worker.world.board.clear(ACCOUNT)
    await worker.follow()
    assert text_of(await answered) == "vlan 1"
    assert worker.world.clock() < A_TIME + timedelta(minutes=1)


async def test_a_rejected_request_ends_and_ends_alike_when_redelivered() -> None:
    world = World()
    first = await end_of(PayingWorker(REJECTED, world=world))
    again = PayingWorker(world=world)
    second = await end_of(again)
    assert (first.error.code, second.error, second.attempts) == ("invalid_request_error", first.error, 1)
    assert again.calls == 0


async def test_what_was_rejected_for_one_may_be_asked_by_another() -> None:
    worker = PayingWorker(REJECTED, "vlan 1")
    await end_of(worker, 1)
    assert text_of(await worker.payer.answer(asked(2))) == "vlan 1"


async def test_an_ambiguous_call_is_recorded_and_followed_by_one_more() -> None:
    worker = PayingWorker(AMBIGUOUS, "vlan 1")
    paid = await worker.payer.answer(asked())
    assert (text_of(paid), paid.entry.stored().attempts, worker.calls) == ("vlan 1", 2, 2)
    assert states(worker.world) == ["ambiguous", "answered"]


async def test_after_a_second_ambiguous_call_nobody_asks_again() -> None:
    world = World()
    worker = PayingWorker(AMBIGUOUS, AMBIGUOUS, world=world)
    first = await end_of(worker)
    assert (first.error.code, first.attempts, worker.calls) == ("outcome_unknown", 2, 2)
    others = PayingWorker(world=world)
    assert [(await end_of(others, number)).error.code for number in (1, 2)] == ["outcome_unknown"] * 2
    assert (others.calls, states(world)) == (0, ["ambiguous", "ambiguous"])


async def test_a_tenant_that_forbids_it_has_no_ambiguous_call_repeated() -> None:
    worker = PayingWorker(AMBIGUOUS, rules=PayingRules(retry_ambiguous=False))
    end = await end_of(worker)
    assert (end.error.code, end.attempts, worker.calls) == ("outcome_unknown", 1, 1)


async def test_no_claim_without_the_ledger_and_no_loss_either() -> None:
    worker = PayingWorker("vlan 1")
    worker.ledger.failures["claim"] = 5
    assert text_of(await worker.payer.answer(asked())) == "vlan 1"
    assert (worker.calls, len(worker.world.slept)) == (1, 5)


async def test_no_call_while_it_cannot_be_recorded_and_the_claim_is_not_forgotten() -> None:
    worker = PayingWorker("vlan 1")
    worker.ledger.failures["mark_sent"] = 3
    async with asyncio.timeout(5):
        paid = await worker.payer.answer(asked())
    assert (text_of(paid), worker.calls) == ("vlan 1", 1)


async def test_a_mark_whose_confirmation_was_lost_is_taken_back() -> None:
    worker = PayingWorker("vlan 1")
    mark_sent = worker.ledger.mark_sent

    async def marks_and_loses_the_reply(sendings: list[Sending]) -> list[bool]:
        await mark_sent(sendings)
        worker.ledger.mark_sent = mark_sent  # type: ignore[method-assign]
        worker.ledger.failures["mark_sent"] = 1
        return await mark_sent(sendings)

    worker.ledger.mark_sent = marks_and_loses_the_reply  # type: ignore[method-assign,assignment]
    assert text_of(await worker.payer.answer(asked())) == "vlan 1"
    assert (worker.calls, states(worker.world)) == (1, ["not_paid", "answered"])


async def test_an_answer_is_not_lost_while_it_cannot_be_settled() -> None:
    worker = PayingWorker("vlan 1")
    worker.ledger.failures["settle"] = 20
    paid = await worker.payer.answer(asked())
    assert (text_of(paid), worker.calls, states(worker.world)) == ("vlan 1", 1, ["answered"])


async def test_waiting_for_the_ledger_ends_with_the_deadline_or_a_cancellation() -> None:
    worker = PayingWorker()
    worker.ledger.failures["claim"] = 10**9
    end = await end_of(worker, seconds=30)
    assert (end.error, end.status) == (TOO_LATE, "expired")
    assert worker.world.clock() < A_TIME + timedelta(seconds=40)
    worker.world.cancelled.add(an_id(2))
    with pytest.raises(Withdrawn):
        await worker.payer.answer(asked(2))
    assert worker.calls == 0


async def test_who_finds_a_claim_of_another_waits_and_takes_its_answer() -> None:
    world = World()
    leader, other = PayingWorker("vlan 1", world=world), PayingWorker(world=world)
    others: list[asyncio.Task[Paid]] = []

    async def another_asks() -> None:
        others.append(asyncio.create_task(other.payer.answer(asked(2))))
        await turns(50)

    leader.model.meanwhile = another_asks
    paid = await leader.payer.answer(asked(1))
    taken = await others[0]
    assert (taken.entry, taken.source, other.calls) == (paid.entry, "ledger", 0)
    key = cache_key_of("meridian", asked().fingerprint)
    assert key in await other.cache.find_many([key])


async def test_polling_slows_down_to_a_second() -> None:
    world = World()
    await PayingWorker(world=world).ledger.claim([Wish(request_key_of(asked()), "meridian", an_id(9))])
    await end_of(PayingWorker(world=world), seconds=60)
    assert len(world.slept) < 80
    assert max(world.slept) <= 1.25


async def test_what_a_dead_worker_had_only_claimed_is_called_for_at_once() -> None:
    world = World()
    dead, heir = PayingWorker(world=world), PayingWorker("vlan 1", world=world)
    await dead.ledger.claim([Wish(request_key_of(asked()), "meridian", an_id(9))])
    world.store.kill(dead.owner)
    paid = await heir.payer.answer(asked())
    assert (paid.entry.stored().attempts, states(world)) == (1, ["answered"])


async def test_what_a_dead_worker_had_sent_is_ambiguous_and_called_for_once_more() -> None:
    world = World()
    dead, heir = PayingWorker(world=world), PayingWorker("vlan 1", world=world)
    await sent_by(dead)
    world.at_sleep = lambda: world.store.kill(dead.owner)
    paid = await heir.payer.answer(asked())
    assert (text_of(paid), paid.entry.stored().attempts) == ("vlan 1", 2)
    assert states(world) == ["ambiguous", "answered"]


async def sent_by(worker: PayingWorker, request_id: int = 9) -> Claimed:
    """A claim of request `request_id`, and its call under way."""
    key = request_key_of(asked())
    [claim] = await worker.ledger.claim([Wish(key, "meridian", an_id(request_id))])
    assert isinstance(claim, Claimed)
    await worker.ledger.mark_sent([Sending(key, claim.epoch, uuid4(), an_id(request_id), "meridian", MODEL)])
    return claim


@pytest.mark.parametrize("heirs_request", [1, 2], ids=["the same request redelivered", "another request"])
async def test_a_worker_that_slept_past_its_lease_tells_what_the_ledger_says(heirs_request: int) -> None:
    world = World()
    zombie, heir = PayingWorker("the zombie's", world=world), PayingWorker("the heir's", world=world)
    heirs: list[Paid] = []

    async def sleeps_past_its_lease() -> None:
        zombie.model.meanwhile = None
        world.store.kill(zombie.owner)
        heirs.append(await heir.payer.answer(asked(heirs_request)))
        world.store.revive(zombie.owner)

    zombie.model.meanwhile = sleeps_past_its_lease
    paid = await zombie.payer.answer(asked(1))
    assert (paid.entry, paid.source) == (heirs[0].entry, "ledger")
    assert (zombie.calls, heir.calls) == (1, 1)
    assert sorted(states(world)) == ["answered", "late"]
    assert [call.cost_usd for call in world.store.calls.values()] == [PRICE, PRICE]


@pytest.mark.parametrize("error", [REJECTED, BUSY, LIMITED, AMBIGUOUS])
async def test_a_zombie_whose_call_failed_takes_the_heirs_answer(error: ModelError) -> None:
    world = World()
    zombie, heir = PayingWorker(error, world=world), PayingWorker("the heir's", world=world)

    async def sleeps_past_its_lease() -> None:
        world.store.kill(zombie.owner)
        await heir.payer.answer(asked(2))

    zombie.model.meanwhile = sleeps_past_its_lease
    assert text_of(await zombie.payer.answer(asked(1))) == "the heir's"
    assert zombie.calls == 1


async def test_who_lost_its_claim_before_the_call_does_not_call() -> None:
    world = World()
    slow, heir = PayingWorker(world=world), PayingWorker("the heir's", world=world)
    mark_sent = slow.ledger.mark_sent

    async def marks_late(sendings: list[Sending]) -> list[bool]:
        world.store.kill(slow.owner)
        await heir.payer.answer(asked(2))
        return await mark_sent(sendings)

    slow.ledger.mark_sent = marks_late  # type: ignore[method-assign,assignment]
    assert text_of(await slow.payer.answer(asked(1))) == "the heir's"
    assert slow.calls == 0


async def test_the_deadline_ends_the_wait_for_another() -> None:
    world = World()
    await sent_by(PayingWorker(world=world))
    end = await end_of(PayingWorker(world=world), seconds=10)
    assert (end.error, end.status) == (TOO_LATE, "expired")
    assert world.clock() == A_TIME + timedelta(seconds=10)


async def test_the_deadline_ends_the_wait_at_the_gate_and_the_claim_is_given_back() -> None:
    worker = PayingWorker(PAUSED, "vlan 1")
    end = await end_of(worker, seconds=10)
    assert (end.error, end.status, end.attempts) == (TOO_LATE, "expired", 0)
    assert worker.world.clock() == A_TIME + timedelta(seconds=10)
    await turns()
    assert text_of(await worker.payer.answer(asked(2))) == "vlan 1"


@pytest.mark.parametrize("away", ["", "settle"])
async def test_a_deadline_that_passes_while_the_call_is_put_on_record_sends_nothing(away: str) -> None:
    worker = PayingWorker("vlan 1")
    mark_sent = worker.ledger.mark_sent

    async def marks_slowly(sendings: list[Sending]) -> list[bool]:
        worker.world.clock.advance(11)
        worker.ledger.failures[away] = 1
        return await mark_sent(sendings)

    worker.ledger.mark_sent = marks_slowly  # type: ignore[method-assign,assignment]
    end = await end_of(worker, seconds=10)
    assert (end.error, end.status, worker.calls) == (TOO_LATE, "expired", 0)
    await turns()
    assert states(worker.world) == ["not_paid"]


async def test_a_call_gets_the_time_that_is_left_and_no_more_than_the_soft_limit() -> None:
    given: list[float] = []
    for seconds in (10, 1000):
        worker = PayingWorker("vlan 1")
        await worker.payer.answer(asked(seconds=seconds))
        given.extend(worker.model.given_seconds)
    assert given == [10, 240]


async def test_a_call_cut_off_by_the_requests_own_deadline_is_recorded_and_not_held_against_the_model() -> None:
    worker = PayingWorker(*[AMBIGUOUS] * 3, "vlan 1", gate_rules=GateRules(failures_to_break=2))
    for number in (1, 2, 3):

        async def takes_long() -> None:
            worker.world.clock.advance(11)

        worker.model.meanwhile = takes_long
        left = (worker.world.clock() - A_TIME).total_seconds() + 10
        question = [{"role": "user", "content": f"question {number}"}]
        end = await end_of(worker, number, seconds=left, messages=question)
        assert (end.error, end.status) == (TOO_LATE, "expired")
    worker.model.meanwhile = None
    assert text_of(await worker.payer.answer(asked(4))) == "vlan 1"
    assert worker.world.slept == []
    assert states(worker.world) == ["ambiguous"] * 3 + ["answered"]


async def test_what_is_cancelled_before_it_is_sent_is_withdrawn_and_its_claim_given_back() -> None:
    worker = PayingWorker("vlan 1")
    worker.world.cancelled.add(an_id(1))
    with pytest.raises(Withdrawn):
        await worker.payer.answer(asked(1))
    await turns()
    assert text_of(await worker.payer.answer(asked(2))) == "vlan 1"
    assert (worker.calls, worker.world.slept) == (1, [])


async def test_a_cancellation_is_seen_while_the_gate_is_closed_and_while_another_calls() -> None:
    world = World()
    limits = GateRules(refused_pause=timedelta(hours=1))
    paused = PayingWorker(PAUSED, world=world, gate_rules=limits)
    world.at_sleep = lambda: world.cancelled.add(an_id(1))
    with pytest.raises(Withdrawn):
        await paused.payer.answer(asked(1))
    await turns()
    await sent_by(PayingWorker(world=world))
    world.at_sleep = lambda: world.cancelled.add(an_id(2))
    with pytest.raises(Withdrawn):
        await PayingWorker(world=world).payer.answer(asked(2))
    assert world.clock() < A_TIME + timedelta(seconds=5)


async def test_what_was_paid_before_it_was_cancelled_is_found_again() -> None:
    world = World()
    paid = await PayingWorker("vlan 1", world=world).payer.answer(asked())
    world.cancelled.add(an_id(1))
    assert (await PayingWorker(world=world).payer.answer(asked())).entry == paid.entry


async def test_a_hand_back_outlasts_an_outage_of_the_ledger() -> None:
    worker = PayingWorker("vlan 1")
    worker.world.cancelled.add(an_id(1))
    worker.ledger.failures["settle"] = 4
    with pytest.raises(Withdrawn):
        await worker.payer.answer(asked(1))
    assert text_of(await worker.payer.answer(asked(2))) == "vlan 1"


async def test_bypass_shares_with_nobody_and_yet_is_paid_once() -> None:
    world = World()
    worker = PayingWorker("shared", "own", "other's own", world=world)
    await worker.payer.answer(asked(1))
    own = await worker.payer.answer(asked(2, "bypass"))
    assert (text_of(own), text_of(await worker.payer.answer(asked(3, "bypass")))) == ("own", "other's own")
    world.clock.advance(60)
    again = await PayingWorker(world=world).payer.answer(asked(2, "bypass"))
    assert (again.entry, worker.calls) == (own.entry, 3)
    key = cache_key_of("meridian", asked().fingerprint)
    assert (await worker.cache.find_many([key]))[key].entry.stored().answer.text == "shared"


async def test_refresh_pays_anew_once_and_the_others_get_the_newer_answer() -> None:
    world = World()
    worker = PayingWorker("old", "new", world=world)
    await worker.payer.answer(asked(1))
    refreshed = await worker.payer.answer(asked(2, "refresh"))
    again = PayingWorker(world=world)
    for work in (asked(2, "refresh"), asked(3)):
        assert (await again.payer.answer(work)).entry == refreshed.entry
    assert (text_of(refreshed), worker.calls, again.calls) == ("new", 2, 0)


async def test_an_unknown_price_is_none_and_never_zero() -> None:
    worker = PayingWorker("vlan 1", price=lambda *_: None)
    paid = await worker.payer.answer(asked())
    [call] = worker.world.store.calls.values()
    assert (paid.entry.stored().cost_usd, call.cost_usd, call.reserved_usd) == (None, None, None)


async def test_what_a_call_may_cost_at_most_is_on_record_before_it() -> None:
    worker = PayingWorker("vlan 1", price=lambda _, usage: PRICE * usage.output_tokens)
    await worker.payer.answer(asked(max_tokens=100))
    [call] = worker.world.store.calls.values()
    assert call.reserved_usd == PRICE * 100


async def test_no_retries_means_that_the_first_failure_is_the_last() -> None:
    worker = PayingWorker(BUSY, rules=PayingRules(retries=RetryPolicy(())))
    assert (await end_of(worker)).attempts == 1


async def test_an_error_that_nobody_foresaw_keeps_no_probe_for_itself() -> None:
    worker = PayingWorker(LIMITED, "vlan 1")

    async def breaks() -> None:
        worker.model.meanwhile = None
        raise LookupError

    await worker.gate.report(await passage_of(worker), LIMITED)
    worker.model.meanwhile = breaks
    with pytest.raises(LookupError):
        await worker.payer.answer(asked(1))
    async with asyncio.timeout(5):
        assert text_of(await worker.payer.answer(asked(2, "bypass"))) == "vlan 1"


async def passage_of(worker: PayingWorker) -> Passage:
    passage = await worker.gate.enter(MODEL)
    assert passage is not None
    return passage


async def test_a_settled_end_of_another_request_is_not_ours() -> None:
    worker = PayingWorker()
    work = asked(1)
    key = request_key_of(work)
    [claim] = await worker.ledger.claim([Wish(key, "meridian", an_id(1))])
    assert isinstance(claim, Claimed)
    await worker.ledger.settle([Settlement(key, claim.epoch, an_id(1), "ended", error=TOO_LATE)])
    [verdict] = await worker.ledger.claim([Wish(key, "meridian", an_id(1))])
    assert isinstance(verdict, Ended)
    assert (await worker.payer.answer(asked(2))).source == "model"
