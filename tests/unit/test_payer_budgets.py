"""Paying within budgets: who is refused, who waits, who may still have the answer, and what a call reserves."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from streams.ledger.budgets import BudgetKey, Scope
from streams.paying import NotAnswered, OverBudget, Paid, PayingRules
from tests.answers_by_hand import turns
from tests.builders import A_TIME, an_id, asking
from tests.builders import a_request as request_of
from tests.paying import PRICE, PayingWorker, World, asked
from tests.unit.test_answering import Stage
from tests.unit.test_answering import text_of as words_of


def limit(world: World, usd: str, scope: Scope = "tenant", name: str = "") -> BudgetKey:
    key = BudgetKey("meridian", scope, name, "day")
    world.store.budgets.set(key, Decimal(usd), world.store.calls.values(), world.clock())
    return key


def question(number: int, **given: Any) -> Any:
    return asked(number, messages=[{"role": "user", "content": f"question {number}"}], **given)


async def refusal_of(worker: PayingWorker, work: Any) -> OverBudget:
    with pytest.raises(OverBudget) as caught:
        await worker.payer.answer(work)
    return caught.value


async def test_a_request_over_its_budget_is_rejected_without_a_call_and_alike_when_redelivered() -> None:
    worker = PayingWorker("vlan 1")
    limit(worker.world, "0.25")
    await worker.payer.answer(question(1))
    end = await refusal_of(worker, question(2))
    assert (end.status, end.error.code, end.attempts, worker.calls) == ("rejected", "budget_exceeded", 0, 1)
    limit(worker.world, "100")
    again = await refusal_of(PayingWorker("vlan 2", world=worker.world), question(2))
    assert again.error == end.error


async def test_a_request_waits_for_what_calls_under_way_have_reserved_and_is_then_answered() -> None:
    worker = PayingWorker("vlan 1", "vlan 2", price=lambda _, usage: PRICE * usage.output_tokens)
    key = limit(worker.world, str(PRICE * 1000))
    second: list[asyncio.Task[Paid]] = []

    async def another_asks() -> None:
        worker.model.meanwhile = None
        assert worker.world.store.budgets.counters(key, worker.world.clock()).reserved_usd == PRICE * 1024
        second.append(asyncio.create_task(worker.payer.answer(question(2))))
        await turns(20)
        assert not second[0].done()
        assert worker.calls == 0

    worker.model.meanwhile = another_asks
    await worker.payer.answer(question(1))
    assert (await second[0]).entry.stored().answer.text == "vlan 2"
    assert worker.world.store.budgets.counters(key, worker.world.clock()).reserved_usd == 0


async def test_patience_ends_where_a_reservation_does_not_come_back() -> None:
    worker = PayingWorker("vlan 1")
    limit(worker.world, "0.25")

    async def another_asks() -> None:
        worker.model.meanwhile = None
        end = await refusal_of(worker, question(2))
        assert "reserved by calls under way" in end.error.message
        assert PayingRules().budget_patience <= worker.world.clock() - A_TIME < 2 * PayingRules().budget_patience

    worker.model.meanwhile = another_asks
    await worker.payer.answer(question(1))


async def test_the_deadline_ends_the_wait_for_a_budget() -> None:
    worker = PayingWorker("vlan 1")
    limit(worker.world, "0.25")

    async def another_asks() -> None:
        worker.model.meanwhile = None
        with pytest.raises(NotAnswered) as caught:
            await worker.payer.answer(question(2, seconds=5))
        assert caught.value.status == "expired"

    worker.model.meanwhile = another_asks
    await worker.payer.answer(question(1))


async def test_who_loses_the_race_for_the_last_of_a_budget_sends_nothing_and_keeps_no_claim() -> None:
    worker = PayingWorker("vlan 1", "vlan 2")
    limit(worker.world, "0.25")
    ends = await asyncio.gather(*(worker.payer.answer(question(n)) for n in (1, 2)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["OverBudget", "Paid"]
    assert worker.calls == 1
    assert not [row for row in worker.world.store.rows.values() if row.held]


async def test_a_call_of_unknown_price_reserves_its_ceiling_and_counts_it() -> None:
    worker = PayingWorker("vlan 1", price=lambda *_: None, ceiling=lambda _, usage: PRICE * usage.output_tokens)
    key = limit(worker.world, "1000")
    await worker.payer.answer(question(1))
    assert worker.world.store.budgets.counters(key, worker.world.clock()).spent_usd == PRICE * 1024


async def test_what_a_prompt_may_become_in_tokens_is_reserved_by_its_bytes() -> None:
    worker = PayingWorker("vlan 1", ceiling=lambda _, usage: PRICE * usage.input_tokens)
    await worker.payer.answer(asked(messages=[{"role": "user", "content": "三" * 100}]))
    [call] = worker.world.store.calls.values()
    assert call.reserved_usd is not None
    assert PRICE * 150 <= call.reserved_usd <= PRICE * 200


def stage_with(usd: str, scope: Scope, name: str) -> Stage:
    stage = Stage("vlan 1", "vlan 2")
    key = BudgetKey("meridian", scope, name, "day")
    stage.ledger_store.budgets.set(key, Decimal(usd), (), stage.clock())
    return stage


def asking_as(number: int, **given: Any) -> Any:
    messages = [{"role": "user", "content": "Which VLAN is native?"}]
    return asking(request_of(request_id=an_id(number), accepted_at=A_TIME, messages=messages, **given), offset=number)


async def test_a_refused_leader_is_rejected_and_those_with_budgets_of_their_own_are_answered_by_one_call() -> None:
    stage = stage_with("0", "user", "eva")
    users = ["eva", "tom", "eva", "pia", None]
    results = await stage.answer(*(asking_as(n, user_id=user) for n, user in enumerate(users)))
    assert [result.status for result in results][1::2] == ["completed", "completed"]
    assert [words_of(result) for result in results if result.status == "completed"] == ["vlan 1"] * (
        5 - sum(result.status == "rejected" for result in results)
    )
    assert results[0].status == "rejected"
    assert results[0].error is not None
    assert results[0].error.code == "budget_exceeded"
    assert results[0].cost_usd == 0
    assert len(stage.model.calls) == 1
    assert len(stage.released) == 5


async def test_hundreds_who_share_a_full_budget_are_all_rejected() -> None:
    stage = stage_with("0", "tenant", "")
    results = await stage.answer(*(asking_as(n, user_id=f"u{n}") for n in range(300)))
    assert {result.status for result in results} == {"rejected"}
    assert (len(results), len(stage.model.calls)) == (300, 0)


async def test_a_cached_answer_costs_nothing_and_is_served_over_budget() -> None:
    stage = stage_with("0.25", "tenant", "")
    await stage.answer(asking_as(1))
    results = await stage.answer(asking_as(2))
    stage.as_another_worker()
    results += await stage.answer(asking_as(3))
    assert [result.status for result in results] == ["completed", "completed"]
    assert [result.source for result in results] == ["local_cache", "shared_cache"]
