"""One answer for one key, paid at most once: claim -> gate -> mark sent -> model -> settle -> remember.

The claim decides who calls; every end of a call is settled before anything is told. What is ambiguous is recorded
before the call (as sent) and after it (as unknown); the ledger decides whether it may be repeated.
"""

import asyncio
from datetime import datetime
from typing import Any, Final, Literal

from schemas.result import Answer, ErrorDetail, Usage
from streams import metrics
from streams.admission import Work
from streams.cache.port import cache_key_of
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.cache.tiers import TieredCache
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelRejected
from streams.ledger.port import (
    Claimed,
    Ended,
    Held,
    Known,
    Ledger,
    LedgerUnavailable,
    Sending,
    Settlement,
    Unknown,
    Wish,
)
from streams.model.port import Model, ModelPrompt, ModelReply
from streams.model.prompting import prompt_of
from streams.paying.outcomes import TOO_LATE, Deferred, NotAnswered, Paid, Withdrawn
from streams.paying.patient_ledger import insist
from streams.paying.rules import Gate, PayingRules, PayingTools
from streams.request_key import request_key_of

_CHARACTERS_PER_TOKEN: Final = 3
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
        self._model = model
        self._gate = gate
        self._cache = cache
        self._rules = rules
        self._tools = tools

    async def answer(self, work: Work) -> Paid:
        """The answer for `work`, from the ledger or the model. Raises NotAnswered, Deferred, Withdrawn."""
        wish = self._wish(work)
        polls = 0
        while True:
            self._check(work)
            match await self._claim(work, wish):
                case Known(answer):
                    return await self._remembered(work, Paid(CacheEntry.from_bytes(answer), "ledger"))
                case Claimed() as claim:
                    if (paid := await self._call(work, claim)) is not None:
                        return await self._remembered(work, paid)
                case Held():
                    polls += 1
                    metrics.LEDGER_WAITS.inc(polls == 1)
                    await self._tools.sleep(self._rules.poll_seconds(polls, self._tools.random.random()))
                case Unknown(ambiguous):
                    raise NotAnswered(_UNKNOWN, work.attempts + ambiguous)
                case Ended(error, attempts):
                    raise NotAnswered(error, attempts)

    async def _call(self, work: Work, claim: Claimed) -> Paid | None:
        """Call once under `claim`; None where the ledger is to be asked again."""
        prompt = prompt_of(work.request, work.model)
        sending = self._sending(work, claim, prompt)
        if not await self._is_let_through(work, sending) or not await self._is_marked(work, sending):
            return None
        self._tools.failpoints.reach("before_call")
        started_at = self._tools.now()
        try:
            reply = await self._model.answer(prompt, self._seconds_for_call(work))
        except ModelError as error:
            metrics.MODEL_CALLS.labels(_outcome(error)).inc()
            await self._gate.report(work.model, None if isinstance(error, ModelRejected) else error)
            await self._end(work, sending, error)
            return None
        self._tools.failpoints.reach("after_reply")
        metrics.MODEL_CALLS.labels("answered").inc()
        await self._gate.report(work.model, None)
        stored = self._stored(work, reply, started_at, attempts=work.attempts + claim.ambiguous + 1)
        return await self._settle_answer(sending, stored)

    async def _is_let_through(self, work: Work, sending: Sending) -> bool:
        try:
            async with asyncio.timeout(self._seconds_left(work)):
                await self._gate.enter(work.model)
        except TimeoutError:
            await self._settle(_settlement(sending, "released", sent=False))
            return False
        return True

    async def _is_marked(self, work: Work, sending: Sending) -> bool:
        """Whether the call is on record and may be made; if not, the gate is given back."""
        marked = False
        try:
            if self._tools.is_cancelled(work):
                await self._settle(_settlement(sending, "released", sent=False))
            else:
                marked = (await self._ledger.mark_sent([sending]))[0]
        except LedgerUnavailable:
            marked = False  # nothing was sent; the claim is ours or another's when the ledger is back
        finally:
            if not marked:
                self._gate.leave(work.model)
        return marked

    async def _end(self, work: Work, sending: Sending, error: ModelError) -> None:
        """Settle a call without an answer. Returns where the ledger is to be asked again, raises where it is over."""
        match error:
            case ModelAmbiguous():
                await self._settle(_settlement(sending, "unknown"))
            case ModelRejected():
                await self._give_up(work, sending, error)
            case ModelBusy(limited=False):
                attempts = work.attempts + 1
                due_at = self._rules.retries.next_due(attempts, self._tools.now(), work.request.deadline)
                if due_at is None:
                    await self._give_up(work, sending, error)
                else:
                    await self._settle(_settlement(sending, "released", attempts=attempts))
                    raise Deferred(error.code, attempts, due_at)
            case _:  # limited or paused: no fault of the request, so no attempt is burnt; the gate holds the next one
                await self._settle(_settlement(sending, "released"))

    async def _give_up(self, work: Work, sending: Sending, error: ModelError) -> None:
        detail = ErrorDetail(code=error.code, message=error.message)
        attempts = work.attempts + 1
        await self._settle(_settlement(sending, "ended", error=detail, attempts=attempts))
        raise NotAnswered(detail, attempts)

    async def _settle_answer(self, sending: Sending, stored: StoredAnswer) -> Paid:
        entry = CacheEntry.of(stored)
        settlement = _settlement(
            sending,
            "answered",
            answer=entry.to_bytes(),
            usage=stored.usage,
            cost_usd=stored.cost_usd,
            expires_at=stored.expires_at,
        )
        await self._settle(settlement)
        self._tools.failpoints.reach("after_settle")
        return Paid(entry, "model")

    async def _claim(self, work: Work, wish: Wish) -> Any:
        return await insist(
            lambda: self._ledger.claim([wish]), self._tools.sleep, self._tools.random, lambda: self._check(work)
        )

    async def _settle(self, settlement: Settlement) -> None:
        # Without end: what was paid must be on record, and nothing is told before it is.
        await insist(lambda: self._ledger.settle([settlement]), self._tools.sleep, self._tools.random)

    async def _remembered(self, work: Work, paid: Paid) -> Paid:
        if work.request.cache.mode != "bypass":
            await self._cache.remember({cache_key_of(work.request.tenant, work.fingerprint): paid.entry})
        return paid

    def _check(self, work: Work) -> None:
        if self._tools.is_cancelled(work):
            raise Withdrawn
        left = self._seconds_left(work)
        if left is not None and left <= 0:
            raise NotAnswered(TOO_LATE, work.attempts, "expired")

    def _seconds_left(self, work: Work) -> float | None:
        deadline = work.request.deadline
        return None if deadline is None else (deadline - self._tools.now()).total_seconds()

    def _seconds_for_call(self, work: Work) -> float:
        left, soft = self._seconds_left(work), self._rules.soft_limit.total_seconds()
        return soft if left is None else min(left, soft)

    def _wish(self, work: Work) -> Wish:
        return Wish(
            request_key_of(work),
            work.request.tenant,
            work.request.request_id,
            refresh=work.request.cache.mode == "refresh",
            retry_ambiguous=self._rules.retry_ambiguous,
        )

    def _sending(self, work: Work, claim: Claimed, prompt: ModelPrompt) -> Sending:
        asked = len(prompt.system or "") + sum(len(str(turn["content"])) for turn in prompt.messages)
        most = Usage(input_tokens=asked // _CHARACTERS_PER_TOKEN, output_tokens=prompt.max_tokens)
        return Sending(
            request_key_of(work),
            claim.epoch,
            self._tools.new_id(),
            work.request.request_id,
            work.request.tenant,
            work.model,
            self._tools.price(work.model, most),
        )

    def _stored(self, work: Work, reply: ModelReply, started_at: datetime, attempts: int) -> StoredAnswer:
        cost_usd = self._tools.price(reply.model, reply.usage)
        if cost_usd is None:
            metrics.UNPRICED_CALLS.inc()
        else:
            metrics.COST_USD.inc(float(cost_usd))
        completed_at = self._tools.now()
        return StoredAnswer(
            answer=Answer(text=reply.text, stop_reason=reply.stop_reason),
            model=reply.model,
            usage=reply.usage,
            cost_usd=cost_usd,
            paid_by=work.request.request_id,
            attempts=attempts,
            started_at=started_at,
            completed_at=completed_at,
            model_ms=reply.model_ms,
            expires_at=completed_at + self._tools.lifetime(work),
        )


def _settlement(
    sending: Sending, outcome: Literal["answered", "released", "ended", "unknown"], *, sent: bool = True, **fields: Any
) -> Settlement:
    call_id = sending.call_id if sent else None
    return Settlement(sending.key, sending.epoch, sending.request_id, outcome, call_id, **fields)


def _outcome(error: ModelError) -> str:
    return type(error).__name__.removeprefix("Model").lower()
