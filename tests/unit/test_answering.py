"""The order of answering: what is asked, what is taken over, what is published, and when a record is let go."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from producers.memory_publisher import MemoryPublisher
from producers.publisher import PublishError, Refusal
from schemas.record import OutgoingRecord, Record
from schemas.request import CachePolicy
from schemas.result import PromptResult
from schemas.topics import DEAD_LETTERS, RESULTS, RETRY
from streams.admission import Admission
from streams.admission.dead_letter_limit import DeadLetterLimit
from streams.admission.intake_guard import IntakeGuard
from streams.answering import Answering
from streams.cache.memory_cache import MemoryCache
from streams.cache.port import AnswerCache, CacheKey, CacheUnavailable
from streams.cache.stored_answer import CacheEntry
from streams.cache.tiers import TieredCache
from streams.errors import ModelBusy, ModelError, ModelRejected
from streams.failpoints import Failpoints
from streams.ledger.memory_ledger import MemoryLedger, MemoryLedgerStore
from streams.model.gate import GateRules, ModelGate
from streams.model.memory_pauses import MemoryPauseBoard
from streams.model.scripted import ScriptedModel
from streams.paying import Payer
from streams.paying.rules import PayingRules, PayingTools
from tests.answers_by_hand import until
from tests.builders import A_TIME, MODEL, Clock, a_record, a_request, an_id, asking, result_in

BUSY = ModelBusy("overloaded_error", "Later.")
PRICE = Decimal("0.25")


class HeldPublisher(MemoryPublisher):
    """Confirms when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.confirm = asyncio.Event()

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        await super().publish(records)
        await self.confirm.wait()


class RefusingPublisher(MemoryPublisher):
    """A broker that confirms nothing."""

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        raise PublishError([Refusal(record, "timed out") for record in records], len(records))


class CacheAway:
    """A tier that cannot be reached."""

    async def get_many(self, keys: Sequence[CacheKey]) -> list[CacheEntry | None]:
        raise CacheUnavailable(f"{len(keys)} keys")

    async def put_many(self, entries: Mapping[CacheKey, CacheEntry]) -> None:
        raise CacheUnavailable(f"{len(entries)} entries")


class CancelledSet:
    """What the test has cancelled, whoever's it is."""

    def __init__(self, cancelled: set[UUID]) -> None:
        self._cancelled = cancelled

    def is_cancelled(self, tenant: str, request_id: UUID) -> bool:
        del tenant
        return request_id in self._cancelled


class Stage:
    """One worker's answering over memory, on a clock that moves at every look."""

    def __init__(
        self, *script: str | ModelError, publisher: MemoryPublisher | None = None, shared: AnswerCache | None = None
    ) -> None:
        self.clock = Clock(ticking=True)
        self.model = ScriptedModel(script)
        self.publisher = publisher or MemoryPublisher()
        self.shared = shared or self._tier()
        self.released: list[Record] = []
        self.ledger_store = MemoryLedgerStore()
        self.fresh_since_ms = 0
        self.cancelled: set[UUID] = set()
        self.answering = self._worker(self.shared)

    async def answer(self, *records: Record) -> list[PromptResult]:
        """Answer one batch; its results by the order of `records`, dead letters left out."""
        before = len(self.publisher.records)
        await self.answering.answer(records, self.released.append)
        results = [result_in(each) for each in self.publisher.records[before:] if each.topic == RESULTS]
        order = [record.header("ce_id") for record in records]
        return sorted(results, key=lambda result: order.index(str(result.request_id)))

    def as_another_worker(self) -> None:
        """From now on another worker answers: it shares the tier below, the model and the topic."""
        self.answering = self._worker(self.shared)

    def _worker(self, shared: AnswerCache) -> Answering:
        cache = TieredCache(self._tier(), shared)
        guard = IntakeGuard(CancelledSet(self.cancelled), DeadLetterLimit(), {})
        tools = PayingTools(
            price=lambda *_: PRICE,
            lifetime=lambda work: timedelta(seconds=work.request.cache.ttl_seconds or 3600),
            is_cancelled=guard.is_cancelled,
            now=self.clock,
            new_id=uuid4,
            random=Random(7),  # noqa: S311 - jitter
            failpoints=Failpoints(),
            sleep=self._sleep,
        )
        gate = ModelGate(MemoryPauseBoard(), GateRules(), self.clock, self._sleep)
        ledger = MemoryLedger(str(uuid4()), self.clock, self.ledger_store)
        payer = Payer(ledger, self.model, gate, cache, PayingRules(), tools)
        admission = Admission(MODEL, lambda *_: self.fresh_since_ms)
        return Answering(guard, admission, cache, payer, self.publisher, Failpoints(), self.clock)

    def _tier(self) -> MemoryCache:
        return MemoryCache(2**20, timedelta(hours=1), self.clock)

    async def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)


def question(number: int, text: str = "Which VLAN is native?", **given: Any) -> Record:
    """The record of request number `number`."""
    fields = {"messages": [{"role": "user", "content": text}], "accepted_at": A_TIME, "request_id": an_id(number)}
    return asking(a_request(**(fields | given)), offset=number)


def text_of(result: PromptResult) -> str:
    assert result.answer is not None
    return result.answer.text


async def test_a_new_question_is_asked_and_answered() -> None:
    stage = Stage("vlan 1")
    [result] = await stage.answer(question(1))
    assert (result.status, result.source, text_of(result)) == ("completed", "model", "vlan 1")
    assert (result.cost_usd, result.saved_usd, result.attempts) == (PRICE, Decimal(0), 1)
    assert result.paid_by == an_id(1)
    assert stage.released == [question(1)]


async def test_a_known_answer_costs_no_call() -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1))
    [result] = await stage.answer(question(2))
    assert (result.source, text_of(result)) == ("local_cache", "vlan 1")
    assert (result.cost_usd, result.saved_usd, result.paid_by) == (Decimal(0), PRICE, an_id(1))
    assert len(stage.model.calls) == 1


async def test_another_worker_finds_it_in_the_shared_cache_and_then_in_its_own() -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1))
    stage.as_another_worker()
    results = [result for number in (2, 3) for result in await stage.answer(question(number))]
    assert [result.source for result in results] == ["shared_cache", "local_cache"]
    assert len(stage.model.calls) == 1


async def test_an_answer_past_its_lifetime_is_asked_for_again() -> None:
    stage = Stage("vlan 1", "vlan 2")
    await stage.answer(question(1, cache=CachePolicy(ttl_seconds=60)))
    stage.clock.advance(61)
    [result] = await stage.answer(question(2))
    assert (result.source, text_of(result)) == ("model", "vlan 2")


async def test_identical_questions_at_one_time_make_one_call_and_each_gets_its_own_result() -> None:
    stage = Stage("vlan 1")
    records = [question(number, department=f"department {number}") for number in range(1, 6)]
    results = await stage.answer(*records)
    assert [result.request_id for result in results] == [an_id(number) for number in range(1, 6)]
    assert [result.department for result in results] == [f"department {number}" for number in range(1, 6)]
    leader, *others = results
    assert (leader.source, leader.cost_usd) == ("model", PRICE)
    assert {(each.source, each.cost_usd, each.saved_usd, each.paid_by) for each in others} == {
        ("shared_flight", Decimal(0), PRICE, an_id(1))
    }
    assert len(stage.model.calls) == 1


async def test_identical_questions_of_two_batches_share_a_call_as_well() -> None:
    stage = Stage("vlan 1")
    stage.model.latency_seconds = 0.02
    batches = [[question(1)], [question(2)]]
    await asyncio.gather(*(stage.answering.answer(batch, stage.released.append) for batch in batches))
    assert len(stage.model.calls) == 1
    assert {result_in(record).source for record in stage.publisher.records} == {"model", "shared_flight"}


async def test_different_questions_of_a_batch_are_asked_side_by_side() -> None:
    stage = Stage()
    stage.model.latency_seconds = 0.05
    async with asyncio.timeout(2):
        results = await stage.answer(*(question(number, f"question {number}") for number in range(100)))
    assert [text_of(result) for result in results] == [f"answer to question {number}" for number in range(100)]


async def test_a_failure_is_shared_by_those_who_waited_for_the_same_call() -> None:
    stage = Stage(ModelRejected("invalid_request_error", "No."))
    results = await stage.answer(question(1), question(2))
    assert [result.status for result in results] == ["failed", "failed"]
    assert len(stage.model.calls) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_payer_redelivered_gets_the_very_same_result(*, elsewhere: bool) -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1))
    stage.clock.advance(30)
    if elsewhere:
        stage.as_another_worker()
    await stage.answer(question(1))
    first, again = stage.publisher.records
    assert again == first
    assert result_in(again).source == "model"
    assert len(stage.model.calls) == 1


@pytest.mark.parametrize("change", ["refresh", "invalidation", "expiry"])
@pytest.mark.parametrize("cached", [True, False])
async def test_the_payer_of_a_replaced_answer_redelivered_gets_the_very_same_result(
    *, change: str, cached: bool
) -> None:
    stage = Stage("old", "new")
    payer, newer = question(1), question(2, cache=CachePolicy(mode="refresh" if change == "refresh" else "use"))
    await stage.answer(payer)
    if change == "expiry":
        stage.clock.advance(3601)
    elif change == "invalidation":
        stage.clock.advance(1)
        stage.fresh_since_ms = int(stage.clock().timestamp() * 1000)
    await stage.answer(newer)
    first, _ = stage.publisher.records
    if not cached:
        stage.shared = stage._tier()
        stage.as_another_worker()
    for _ in range(2):
        await stage.answer(payer)
        assert stage.publisher.records[-1] == first
    # It alone: everybody else has the newer one, also those who come with it, or lie longer on their topic.
    later = int((stage.clock().timestamp() + 60) * 1000)
    await stage.answer(question(3)._replace(timestamp_ms=later), payer, question(4), newer)
    texts = {result.request_id: text_of(result) for result in map(result_in, stage.publisher.records[-4:])}
    assert texts == {an_id(1): "old", an_id(2): "new", an_id(3): "new", an_id(4): "new"}
    assert len(stage.model.calls) == 2


async def test_a_request_published_twice_in_one_batch_gets_the_same_result_twice() -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1), question(1)._replace(offset=2))
    first, again = stage.publisher.records
    assert again == first
    assert len(stage.model.calls) == 1


async def test_bypass_neither_reads_nor_writes_nor_coalesces() -> None:
    stage = Stage("stored", "one", "two", "three")
    await stage.answer(question(1))
    bypass = CachePolicy(mode="bypass")
    results = await stage.answer(question(2, cache=bypass), question(3, cache=bypass))
    assert {(result.source, text_of(result)) for result in results} == {("model", "one"), ("model", "two")}
    [known] = await stage.answer(question(4))
    assert text_of(known) == "stored"


async def test_refresh_asks_and_stores() -> None:
    stage = Stage("old", "new")
    await stage.answer(question(1))
    [refreshed] = await stage.answer(question(2, cache=CachePolicy(mode="refresh")))
    assert (refreshed.source, text_of(refreshed), refreshed.cost_usd) == ("model", "new", PRICE)
    for _ in range(2):
        [known] = await stage.answer(question(3))
        assert text_of(known) == "new"
        stage.as_another_worker()
    assert len(stage.model.calls) == 2


async def test_a_neighbours_hit_is_not_given_to_bypass_or_refresh() -> None:
    stage = Stage("old", "bypassed", "refreshed")
    await stage.answer(question(1))
    policies = [CachePolicy(), CachePolicy(mode="bypass"), CachePolicy(mode="refresh")]
    results = await stage.answer(*(question(number, cache=policy) for number, policy in enumerate(policies, 2)))
    assert [text_of(result) for result in results] == ["old", "bypassed", "refreshed"]


async def test_an_undecodable_record_becomes_a_dead_letter_while_its_neighbours_are_answered() -> None:
    stage = Stage()
    broken = a_record(7, value=b"\xff{")
    results = await stage.answer(question(1, "a"), broken, question(2, "b"))
    assert [text_of(result) for result in results] == ["answer to a", "answer to b"]
    [letter] = [record for record in stage.publisher.records if record.topic == DEAD_LETTERS]
    headers = dict(letter.headers)
    assert letter.value == broken.value
    assert (headers["x-error-type"], headers["x-original-offset"]) == (b"not_json", b"7")
    assert set(stage.released) == {broken, question(1, "a"), question(2, "b")}


async def test_a_passed_deadline_expires_without_a_call() -> None:
    stage = Stage()
    [result] = await stage.answer(question(1, deadline=A_TIME))
    assert (result.status, result.source, result.attempts) == ("expired", None, 0)
    assert result.error is not None
    assert result.error.code == "deadline_passed"
    assert stage.model.calls == []


@pytest.mark.parametrize(
    ("template", "code"), [("no-such@1", "unknown_template"), ("config-review@1", "missing_variable")]
)
async def test_a_template_that_does_not_fit_is_rejected_with_its_code(template: str, code: str) -> None:
    stage = Stage()
    [result] = await stage.answer(question(1, template=template, messages=None))
    assert result.status == "rejected"
    assert result.error is not None
    assert result.error.code == code
    assert stage.model.calls == []


async def test_what_may_pass_goes_to_the_retry_topic_and_is_released() -> None:
    stage = Stage(BUSY)
    assert await stage.answer(question(1)) == []
    [retry] = stage.publisher.records
    assert (retry.topic, retry.value) == (RETRY, question(1).value)
    assert stage.released == [question(1)]


async def test_a_final_refusal_is_a_failed_result_with_the_apis_code() -> None:
    stage = Stage(ModelRejected("invalid_request_error", "No."))
    [result] = await stage.answer(question(1))
    assert (result.status, result.attempts, result.cost_usd) == ("failed", 1, Decimal(0))
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("invalid_request_error", "No.")
    assert stage.released == [question(1)]


async def test_a_failure_is_not_remembered() -> None:
    stage = Stage(ModelRejected("invalid_request_error", "No."), "vlan 1")
    await stage.answer(question(1))
    [result] = await stage.answer(question(2))
    assert (result.status, result.source) == ("completed", "model")


async def test_a_record_that_no_broker_confirms_is_not_released_and_stops_the_worker() -> None:
    stage = Stage(publisher=RefusingPublisher())
    with pytest.raises(PublishError):
        await stage.answer(question(1), a_record(2, value=b"broken"))
    assert stage.released == []


async def test_what_was_paid_for_is_known_to_the_next_worker_even_if_it_could_not_be_published() -> None:
    stage = Stage("vlan 1", publisher=RefusingPublisher())
    with pytest.raises(PublishError):
        await stage.answer(question(1))
    stage.publisher = MemoryPublisher()
    stage.as_another_worker()
    [result] = await stage.answer(question(1))
    assert (result.source, result.cost_usd, len(stage.model.calls)) == ("model", PRICE, 1)


@pytest.mark.parametrize("record", [question(1), a_record(1, value=b"broken")], ids=["answered", "dead letter"])
async def test_nothing_is_released_before_the_broker_confirmed(record: Record) -> None:
    held = HeldPublisher()
    stage = Stage(publisher=held)
    answered = asyncio.create_task(stage.answer(record))
    await until(lambda: len(held.records) == 1)
    assert stage.released == []
    held.confirm.set()
    await answered
    assert stage.released == [record]


async def test_a_slow_call_does_not_hold_back_what_is_known() -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1))
    stage.model.latency_seconds = 60
    answered = asyncio.create_task(stage.answer(question(2), question(3, "something new")))
    await until(lambda: len(stage.released) == 2)
    assert stage.released[1] == question(2)
    answered.cancel()


async def test_an_answer_never_crosses_tenants() -> None:
    stage = Stage("for meridian", "for aurora")
    await stage.answer(question(1, tenant="meridian"))
    [result] = await stage.answer(question(2, tenant="aurora"))
    assert (result.source, text_of(result)) == ("model", "for aurora")


async def test_tenants_do_not_share_a_call_either() -> None:
    stage = Stage("for meridian", "for aurora")
    results = await stage.answer(question(1, tenant="meridian"), question(2, tenant="aurora"))
    assert [(result.tenant, text_of(result)) for result in results] == [
        ("meridian", "for meridian"),
        ("aurora", "for aurora"),
    ]


async def test_without_the_shared_cache_the_work_goes_on() -> None:
    stage = Stage("vlan 1", shared=CacheAway())
    await stage.answer(question(1))
    [result] = await stage.answer(question(2))
    assert (result.source, len(stage.model.calls)) == ("local_cache", 1)


async def test_the_trace_of_a_request_follows_its_result() -> None:
    stage = Stage()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request = a_request(accepted_at=A_TIME)
    for _ in range(2):
        await stage.answer(asking(request, traceparent=trace))
    assert [dict(record.headers)["traceparent"] for record in stage.publisher.records] == [trace.encode()] * 2


async def test_when_the_leader_is_cancelled_the_others_still_get_an_answer_with_one_call() -> None:
    stage = Stage("vlan 1")
    stage.cancelled.add(an_id(1))
    results = await stage.answer(question(1), question(2), question(3))
    assert [result.status for result in results] == ["cancelled", "completed", "completed"]
    assert [result.source for result in results[1:]] == ["model", "shared_flight"]
    assert (results[0].cost_usd, len(stage.model.calls)) == (Decimal(0), 1)


async def test_when_the_leader_is_cancelled_during_its_call_the_others_share_what_it_paid_for() -> None:
    stage = Stage("vlan 1")
    stage.model.latency_seconds = 0.05
    answered = asyncio.create_task(stage.answer(question(1), question(2)))
    await until(lambda: len(stage.model.calls) == 1)
    stage.cancelled.add(an_id(1))
    [leader, follower] = await answered
    assert (leader.status, leader.cost_usd, leader.answer) == ("cancelled", PRICE, None)
    assert (follower.status, follower.source, follower.paid_by) == ("completed", "shared_flight", an_id(1))
    assert len(stage.model.calls) == 1


async def test_a_request_that_was_paid_in_time_keeps_its_answer_when_it_comes_again_too_late() -> None:
    stage = Stage("vlan 1")
    asked = question(1, deadline=A_TIME + timedelta(minutes=10))
    [first] = await stage.answer(asked)
    stage.clock.advance(3600)
    stage.as_another_worker()
    [again] = await stage.answer(asked)
    assert again == first
    assert len(stage.model.calls) == 1


async def test_a_request_that_comes_too_late_is_not_given_what_another_paid_for() -> None:
    stage = Stage("vlan 1")
    await stage.answer(question(1))
    stage.clock.advance(1200)
    [result] = await stage.answer(question(2, deadline=A_TIME + timedelta(minutes=10)))
    assert result.status == "expired"
    assert len(stage.model.calls) == 1
