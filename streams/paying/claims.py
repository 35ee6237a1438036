"""Asking the ledger for the right to call, and what a call may cost before it is made."""

from collections.abc import Callable

from streams.admission import Work
from streams.cache.stored_answer import CacheEntry
from streams.ledger.port import Claimed, Known, Ledger, Sending, Verdict, Wish
from streams.model.port import ModelPrompt
from streams.model.prompt_marks import most_usage
from streams.paying.patient_ledger import insist
from streams.paying.rules import PayingRules, PayingTools
from streams.request_key import request_key_of
from streams.sharing import is_outdated, served


class Claims:
    """Asks for one request at a time; safe to call concurrently. `check` raises where waiting has lost its point."""

    def __init__(self, ledger: Ledger, rules: PayingRules, tools: PayingTools, check: Callable[[Work], None]) -> None:
        self._ledger = ledger
        self._rules = rules
        self._tools = tools
        self._check = check

    async def verdict(self, work: Work, *, patient: bool) -> Verdict:
        """The ledger's word; a known answer that is for `work` and will not do for it is claimed, to be asked anew."""
        verdict = await self._claim(work, refresh=False, patient=patient)
        if not isinstance(verdict, Known):
            return verdict
        entry = CacheEntry.from_bytes(verdict.answer)
        wants_new = work.request.cache.mode == "refresh" and entry.paid_by != str(work.request.request_id)
        if not (wants_new or is_outdated(work, entry)) or served(work, entry) is None:
            return verdict  # one that is not for `work` stays with its payer
        return await self._claim(work, refresh=True, patient=patient)

    def sending(self, work: Work, claim: Claimed, prompt: ModelPrompt) -> Sending:
        """The call that `claim` allows, with what it may cost at most."""
        return Sending(
            request_key_of(work),
            claim.epoch,
            self._tools.new_id(),
            work.request.request_id,
            work.request.tenant,
            prompt.model,
            (self._tools.ceiling or self._tools.price)(prompt.model, most_usage(prompt)),
            work.request.department,
            work.request.user_id,
        )

    async def _claim(self, work: Work, *, refresh: bool, patient: bool) -> Verdict:
        wish = Wish(
            request_key_of(work),
            work.request.tenant,
            work.request.request_id,
            refresh=refresh,
            retry_ambiguous=self._rules.retry_ambiguous,
            department=work.request.department,
            user_id=work.request.user_id,
            patient=patient,
        )
        return await insist(
            lambda: self._ledger.claim([wish]), self._tools.sleep, self._tools.random, lambda: self._check(work)
        )
