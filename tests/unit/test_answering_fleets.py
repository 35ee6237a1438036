"""What a fleet of devices with the same wishes costs, and gets: right answers, for as few calls as that allows."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from schemas.record import Record
from schemas.request import CachePolicy
from schemas.result import PromptResult
from streams.errors import ModelAmbiguous
from streams.model.port import ModelPrompt, ModelReply
from streams.model.scripted import ScriptedModel
from tests.builders import A_TIME, a_request, an_id, asking
from tests.unit.test_answering import Stage, text_of

WISHES = "VLAN 110 (users) on GigabitEthernet1/0/1"


def configuration(name: str, extra: str = "") -> str:
    return f"hostname {name}\nvlan 110\ninterface GigabitEthernet1/0/1\n switchport access vlan 110\n{extra}"


def device(number: int, name: str | None = None, wishes: str = WISHES, **given: Any) -> Record:
    """A request for the configuration of one device."""
    variables = {"device_name": name or f"osl-{number:02d}-acc-07", "requirements": wishes}
    request = a_request(
        template="network-config@1", variables=variables, accepted_at=A_TIME, request_id=an_id(number), **given
    )
    return asking(request, offset=number)


class Engineer(ScriptedModel):
    """A model that configures the device it is asked for, in the way `answer` has it."""

    def __init__(self, answer: Callable[[str, int], str] = lambda name, _: configuration(name)) -> None:
        super().__init__()
        self._answer = answer

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        reply = await super().answer(prompt, deadline_seconds)
        name = str(prompt.messages[-1]["content"]).split("Device: ")[1].split("\n")[0]
        return replace(reply, text=self._answer(name, len(self.calls)))


def a_stage(answer: Callable[[str, int], str] | None = None) -> Stage:
    stage = Stage()
    stage.model = Engineer() if answer is None else Engineer(answer)
    stage.as_another_worker()
    return stage


def names(results: list[PromptResult]) -> list[str]:
    return [text_of(result).split()[1] for result in results]


async def test_a_fleet_costs_one_call_and_each_device_gets_its_own_name() -> None:
    stage = a_stage()
    results = await stage.answer(*(device(number) for number in range(1, 60)))
    assert [text_of(result) for result in results] == [configuration(f"osl-{n:02d}-acc-07") for n in range(1, 60)]
    assert len(stage.model.calls) == 1
    assert all(result.validation is not None and result.validation.valid for result in results)
    for _ in range(2):
        stage.as_another_worker()
        [result] = await stage.answer(device(70))
        assert text_of(result) == configuration("osl-70-acc-07")
    assert len(stage.model.calls) == 1


async def test_the_ledger_alone_serves_a_fleet_too() -> None:
    stage = a_stage()
    await stage.answer(device(1))
    stage.shared = stage._tier()
    stage.as_another_worker()
    [result] = await stage.answer(device(2))
    assert (result.source, text_of(result), len(stage.model.calls)) == ("ledger", configuration("osl-02-acc-07"), 1)


@pytest.mark.parametrize("cache_lost", [False, True])
@pytest.mark.parametrize("extra", ["", " description OSL\n", "```"])
async def test_whoever_paid_gets_the_very_same_bytes_again(*, extra: str, cache_lost: bool) -> None:
    stage = a_stage(lambda name, _: configuration(name, extra))
    await stage.answer(device(1))
    await stage.answer(device(2))
    first, second = stage.publisher.records
    calls = len(stage.model.calls)
    if cache_lost:
        stage.shared = stage._tier()
    stage.as_another_worker()
    await stage.answer(device(1))
    await stage.answer(device(2))
    again = stage.publisher.records[2:]
    assert again[0] == first
    if extra:
        assert again[1] == second
    assert len(stage.model.calls) == calls


async def test_an_answer_that_cannot_be_exchanged_is_shared_by_no_other_device() -> None:
    stage = a_stage(lambda name, _: configuration(name, f" description {name.upper()}\n"))
    results = await stage.answer(*(device(number) for number in range(1, 9)))
    assert names(results) == [f"osl-{number:02d}-acc-07" for number in range(1, 9)]
    assert len(stage.model.calls) == 8
    await stage.answer(*(device(number + 50, f"osl-{number:02d}-acc-07") for number in range(1, 9)))
    assert len(stage.model.calls) == 8


async def test_one_bad_answer_does_not_make_every_device_pay() -> None:
    stage = a_stage(lambda name, calls: configuration(name) if calls > 1 else f"hostname {name}")
    results = await stage.answer(*(device(number) for number in range(1, 30)))
    assert len(stage.model.calls) == 2
    flagged = [result for result in results if result.validation is not None and not result.validation.valid]
    assert [(result.source, result.validation.problems[0]) for result in flagged if result.validation] == [
        ("model", "VLAN 110 is missing")
    ]
    assert names(results) == [f"osl-{number:02d}-acc-07" for number in range(1, 30)]


async def test_an_invalid_answer_is_flagged_and_kept_for_its_payer_alone() -> None:
    stage = a_stage(lambda name, calls: f"hostname {name}\nvlan 1{calls}")
    [first] = await stage.answer(device(1))
    [second] = await stage.answer(device(2, "osl-01-acc-07"))
    assert (first.source, second.source) == ("model", "model")
    assert text_of(first) != text_of(second)
    stage.as_another_worker()
    before = len(stage.model.calls)
    await stage.answer(device(1))
    assert (stage.publisher.records[-1], len(stage.model.calls)) == (stage.publisher.records[0], before)


async def test_the_same_wishes_in_other_words_are_one_call_in_the_payers_own() -> None:
    stage = a_stage()
    await stage.answer(device(1, wishes="VLANs 10, 20, 30"), device(2, wishes="vlans  30,20,10"))
    # The rehearsed answer lacks those VLANs, so nobody shares it: what was sent is what counts here.
    assert "VLANs 10, 20, 30" in str(stage.model.calls[0].messages)


async def test_a_refresh_serves_the_fleet_from_then_on_and_a_bypass_nobody() -> None:
    stage = a_stage(lambda name, calls: configuration(name, f" mtu 900{calls}\n"))
    await stage.answer(device(1))
    [fresh] = await stage.answer(device(2, cache=CachePolicy(mode="refresh")))
    assert (fresh.source, "9002" in text_of(fresh)) == ("model", True)
    [bypassed] = await stage.answer(device(3, cache=CachePolicy(mode="bypass")))
    assert "9003" in text_of(bypassed)
    for _ in range(2):
        [known] = await stage.answer(device(4))
        assert text_of(known) == configuration("osl-04-acc-07", " mtu 9002\n")
        stage.as_another_worker()
    assert len(stage.model.calls) == 3


async def test_a_refresh_does_not_push_out_what_another_device_paid_for() -> None:
    stage = a_stage(lambda name, calls: configuration(name, f" description {name.upper()} {calls}\n"))
    await stage.answer(device(1))
    await stage.answer(device(2, cache=CachePolicy(mode="refresh")))
    stage.shared = stage._tier()
    stage.as_another_worker()
    await stage.answer(device(1))
    assert stage.publisher.records[-1] == stage.publisher.records[0]


async def test_tenants_have_fleets_of_their_own() -> None:
    stage = a_stage()
    await stage.answer(device(1, tenant="meridian"), device(2, tenant="aurora"))
    assert len(stage.model.calls) == 2


async def test_many_workers_at_once_pay_once_for_a_fleet() -> None:
    stage = a_stage()
    stage.model.latency_seconds = 0.05
    workers = []
    for _ in range(4):
        stage.as_another_worker()
        workers.append(stage.answering)
    await asyncio.gather(
        *(
            worker.answer([device(10 * n + m) for m in range(5)], stage.released.append)
            for n, worker in enumerate(workers, 1)
        )
    )
    assert len(stage.model.calls) == 1
    assert len(stage.publisher.records) == 20


@pytest.mark.parametrize("cache_lost", [False, True])
async def test_what_was_asked_before_an_invalidation_is_asked_anew_once(*, cache_lost: bool) -> None:
    stage = a_stage(lambda name, calls: configuration(name, f" mtu 900{calls}\n"))
    await stage.answer(device(1))
    stage.fresh_since_ms = int(stage.clock().timestamp() * 1000) + 1
    stage.clock.advance(1)
    if cache_lost:
        stage.shared = stage._tier()
    for number in range(2, 6):
        stage.as_another_worker()
        results = await stage.answer(*(device(10 * number + n) for n in range(3)))
        assert {text_of(result).split()[-1] for result in results} == {"9002"}
    assert len(stage.model.calls) == 2
    await stage.answer(device(1))
    assert len(stage.model.calls) == 2


async def test_devices_go_on_by_themselves_when_nobody_knows_what_became_of_the_fleets_call() -> None:
    stage = a_stage()
    lost = [ModelAmbiguous("connection_reset", "no answer was seen")] * 4
    stage.model._script.extend(lost)
    results = await stage.answer(*(device(number) for number in range(1, 6)))
    assert names(results) == [f"osl-{number:02d}-acc-07" for number in range(1, 6)]
    assert len(stage.model.calls) == 4 + 5
    states = [call.state for call in stage.ledger_store.calls.values()]
    assert (states.count("ambiguous"), states.count("answered")) == (4, 5)
