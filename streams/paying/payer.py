"""One answer for one key, paid at most once: claim -> gate, rate limits -> mark sent -> model -> settle -> remember.

The claim decides who calls; every end of a call is settled before anything is told. What is ambiguous is recorded
before the call (as sent) and after it (as unknown); the ledger decides whether it may be repeated.
"""

import asyncio
from datetime import datetime
from typing import Any, Final, Literal

from schemas.result import ErrorDetail
from streams import metrics
from streams.admission import Work
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.cache.tiers import TieredCache
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelRejected, ModelUnavailable
from streams.ledger.budgets import refusal_of
from streams.ledger.port import (
    Claimed,
    Crowded,
    Ended,
    Held,
    Known,
    Ledger,
    LedgerUnavailable,
    Refused,
    Sending,
    Settlement,
    Unknown,
)
from streams.model.gate import Passage
from streams.model.port import Model, ModelPrompt
from streams.model.prompting import prompt_of
from streams.paying.bought import Bought, stored_answer
from streams.paying.claims import Claims
from streams.paying.entrance import Entrance
from streams.paying.outcomes import TOO_LATE, Deferred, FleetOutcomeUnknown, NotAnswered, OverBudget, Paid, Withdrawn
from streams.paying.patient_ledger import insist
from streams.paying.rules import Gate, PayingRules, PayingTools
from streams.paying.stand_ins import StandIns
from streams.sharing import cache_key_for, entry_for, is_shared_by_a_fleet

_UNKNOWN: Final = ErrorDetail(
    code="outcome_unknown",
    message="the request was sent and no answer was seen; it may have been paid, so it is not asked again. "
    "See: headrace ledger unknown",
)


class Payer:
    """Gets answers paid. One per worker; safe to call concurrently."""

    def __init__(
        self, ledger: Ledger, model: Model, gate: Gate, cache: TieredCache, rules: PayingRules, tools: PayingTools
    ) -> None:
        self._ledger = ledger
        self._claims = Claims(ledger, rules, tools, self._check)
        self._model = model
        self._gate = gate
        self._stand_ins = StandIns(tools.fallback, gate.is_broken, tools.now)
        self._entrance = Entrance(gate, tools.limiter, self._stand_ins)
        self._cache = cache
        self._rules = rules
        self._tools = tools
        self._handing_back: set[asyncio.Future[bool]] = set()

    async def answer(self, work: Work) -> Paid:
        """The answer for `work`, from the ledger or the model. Raises NotAnswered, Deferred, Withdrawn."""
        polls = 0
        patience_ends: datetime | None = None
        while True:
            patient = patience_ends is None or self._tools.now() < patience_ends
            # The ledger first: what this request has paid for is its answer, cancelled or late as it may be by now.
            match await self._claims.verdict(work, patient=patient):
                case Known(answer, former):
                    paid = Paid(CacheEntry.from_bytes(answer), "ledger", former)
                    return paid if former else await self._remembered(work, paid)
                case Claimed() as claim:
                    if (called := await self._call(work, claim)) is not None:
                        return await self._remembered(work, called)
                case Held() | Crowded() as verdict:
                    self._check(work)
                    if isinstance(verdict, Crowded) and patience_ends is None:
                        metrics.BUDGET_WAITS.inc()
                        patience_ends = self._tools.now() + self._rules.budget_patience
                    polls += 1
                    metrics.LEDGER_WAITS.inc(polls == 1 and isinstance(verdict, Held))
                    await self._tools.sleep(self._seconds_to_poll(work, polls))
                case Refused(scope, use):
                    self._check(work)
                    metrics.BUDGET_REFUSALS.labels(scope, use.period).inc()
                    raise OverBudget(refusal_of(scope, use), work, scope)
                case Unknown(ambiguous):
                    shares = self._rules.retry_ambiguous and is_shared_by_a_fleet(work)
                    raise (FleetOutcomeUnknown if shares else NotAnswered)(_UNKNOWN, work.attempts + ambiguous)
                case Ended(error, attempts):
                    raise NotAnswered(error, attempts)

    async def _call(self, work: Work, claim: Claimed) -> Paid | None:
        """Call once under `claim`; None where the ledger is to be asked again."""
        prompt, sending = self._prepared(work, claim, work.model)
        admitted = await self._entrance.enter(work, prompt, lambda: self._is_wanted(work))
        if admitted is None:
            self._hand_back(work, sending)
            self._check(work)
            return None
        if admitted.model != work.model:
            prompt, sending = self._prepared(work, claim, admitted.model)
        try:
            if not await self._is_marked(work, sending):
                return None
            self._tools.failpoints.reach("before_call")
            started_at = self._tools.now()
            admitted.sent = True
            reply = await self._model.answer(prompt, self._seconds_for_call(work))
        except ModelError as error:
            metrics.MODEL_CALLS.labels(_outcome(error)).inc()
            metrics.observe_failed_call(_outcome(error), (self._tools.now() - started_at).total_seconds())
            self._entrance.failed(admitted, error)
            await self._report(work, admitted.passage, error)
            await self._end(work, sending, error)
            return None
        finally:
            self._entrance.leave(admitted)
        self._entrance.answered(admitted, reply)
        self._tools.failpoints.reach("after_reply")
        metrics.MODEL_CALLS.labels("answered").inc()
        metrics.observe_call(reply.model, reply.model_ms / 1000, reply.usage)
        await self._gate.report(admitted.passage, None)
        reason = None if admitted.model == work.model else self._stand_ins.reason(work)
        bought = Bought(reply, started_at, work.attempts + claim.ambiguous + 1, reason)
        stored = stored_answer(work, bought, self._rules, self._tools)
        # A later claim than the first: there may have been an answer before.
        entry = entry_for(work, stored)._replace(renewed=claim.epoch > 1)
        return await self._settle_answer(sending, stored, entry)

    async def _is_marked(self, work: Work, sending: Sending) -> bool:
        """Whether the call is on record and may be made. Raises where it is not wanted any more."""
        if self._is_wanted(work):
            try:
                if not (await self._ledger.mark_sent([sending]))[0]:
                    return False  # another's by now, or its budget is full
            except LedgerUnavailable:
                # Marked or not, nothing is sent; and a claim that its owner forgets is held for as long as it lives.
                self._hand_back(work, sending)
                return False
            if self._is_wanted(work):
                return True
        self._hand_back(work, sending)
        self._check(work)
        return False

    async def _report(self, work: Work, passage: Passage, error: ModelError) -> None:
        if isinstance(error, ModelAmbiguous) and self._is_past_deadline(work):
            self._gate.leave(passage)  # the request's haste says nothing of the model
        else:
            await self._gate.report(passage, None if isinstance(error, ModelRejected) else error)

    async def _end(self, work: Work, sending: Sending, error: ModelError) -> None:
        """Settle a call without an answer. Returns where the ledger is to be asked again, raises where it is over."""
        match error:
            case ModelAmbiguous():
                await self._settle(_settlement(sending, "unknown"))
            case ModelUnavailable() if self._stand_ins.note_refusal(work, sending.model):
                await self._settle(_settlement(sending, "released", attempts=work.attempts))
            case ModelRejected():
                await self._give_up(work, sending, error)
            case ModelBusy(limited=False):
                attempts = work.attempts + 1
                due_at = self._rules.retries.next_due(attempts, self._tools.now(), work.request.deadline)
                if due_at is None:
                    await self._give_up(work, sending, error)
                elif await self._settle(_settlement(sending, "released", attempts=attempts)):
                    raise Deferred(error.code, attempts, due_at)
            case _:  # limited or paused: no fault of the request, so no attempt is burnt; the gate holds the next one
                await self._settle(_settlement(sending, "released", attempts=work.attempts))

    async def _give_up(self, work: Work, sending: Sending, error: ModelError) -> None:
        detail = ErrorDetail(code=error.code, message=error.message)
        attempts = work.attempts + 1
        # Fenced: another has taken over, and how this request ends is with the ledger.
        if await self._settle(_settlement(sending, "ended", error=detail, attempts=attempts)):
            raise NotAnswered(detail, attempts)

    async def _settle_answer(self, sending: Sending, stored: StoredAnswer, entry: CacheEntry) -> Paid | None:
        """None where another has taken over meanwhile: then its answer counts, and this call is only on record."""
        settlement = _settlement(
            sending,
            "answered",
            answer=entry.to_bytes(),
            usage=stored.usage,
            cost_usd=stored.cost_usd,
            expires_at=stored.expires_at,
        )
        settled = await self._settle(settlement)
        self._tools.failpoints.reach("after_settle")
        return Paid(entry, "model", bought=stored) if settled else None

    async def _settle(self, settlement: Settlement) -> bool:
        # Without end: what was paid must be on record, and nothing is told before it is.
        return await insist(lambda: self._ledger.settle([settlement]), self._tools.sleep, self._tools.random)

    def _hand_back(self, work: Work, sending: Sending) -> None:
        """Give up a claim under which nothing was sent. Nobody waits for it: the ledger may be away for long."""
        settlement = _settlement(sending, "released", attempts=work.attempts)
        task = asyncio.ensure_future(self._settle(settlement))
        self._handing_back.add(task)
        task.add_done_callback(self._handing_back.discard)

    async def _remembered(self, work: Work, paid: Paid) -> Paid:
        if (key := cache_key_for(work, paid.entry)) is not None:
            await self._cache.remember({key: paid.entry}, replaces=work.request.cache.mode == "refresh")
        return paid

    def _is_wanted(self, work: Work) -> bool:
        return not self._tools.is_cancelled(work) and not self._is_past_deadline(work)

    def _is_past_deadline(self, work: Work) -> bool:
        left = self._seconds_left(work)
        return left is not None and left <= 0

    def _check(self, work: Work) -> None:
        if self._tools.is_cancelled(work):
            raise Withdrawn
        if self._is_past_deadline(work):
            raise NotAnswered(TOO_LATE, work.attempts, "expired")

    def _seconds_left(self, work: Work) -> float | None:
        deadline = work.request.deadline
        return None if deadline is None else (deadline - self._tools.now()).total_seconds()

    def _seconds_to_poll(self, work: Work, polls: int) -> float:
        poll, left = self._rules.poll_seconds(polls, self._tools.random.random()), self._seconds_left(work)
        return poll if left is None else max(min(poll, left), 0)

    def _seconds_for_call(self, work: Work) -> float:
        left, soft = self._seconds_left(work), self._rules.soft_limit.total_seconds()
        return soft if left is None else min(left, soft)

    def _prepared(self, work: Work, claim: Claimed, model: str) -> tuple[ModelPrompt, Sending]:
        """A call of `model`, and its record."""
        prompt = prompt_of(work.request, model, marks=self._rules.mark_prompts)
        return prompt, self._claims.sending(work, claim, prompt)


def _settlement(
    sending: Sending, outcome: Literal["answered", "released", "ended", "unknown"], **fields: Any
) -> Settlement:
    return Settlement(sending.key, sending.epoch, sending.request_id, outcome, sending.call_id, **fields)


def _outcome(error: ModelError) -> str:
    return type(error).__name__.removeprefix("Model").lower()
