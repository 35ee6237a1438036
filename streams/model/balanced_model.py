"""`BalancedModel`: several endpoints or keys as one Model, asked by latency and by what is left of their limits.

An endpoint that definitely did not answer is left alone for a while, and another is asked within the same call: nothing
was paid. A call whose outcome nobody knows is never repeated here; whether it may be is the ledger's to say.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from time import monotonic

from streams.errors import ModelBusy, ModelError, ModelPaused, ModelUnavailable
from streams.model.account_limits import AccountLimits, summed
from streams.model.endpoint import Endpoint, RestRules, Seat
from streams.model.picking import pick
from streams.model.port import ModelPrompt, ModelReply


class BalancedModel:
    """At most one call that may be paid per `answer`. Use and close it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        rules: RestRules | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        accounts = {endpoint.account: AccountLimits() for endpoint in endpoints}
        self._seats = [Seat(one, accounts[one.account], rules or RestRules(), now) for one in endpoints]
        self._now = now

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        """See `Model.answer`. Raises ModelPaused only where every endpoint refuses our key or account."""
        ends_at = self._now() + deadline_seconds
        failures: list[ModelError] = []
        tried: list[Seat] = []
        while (seat := self._next(prompt.model, tried)) is not None:
            if failures and self._now() >= ends_at:
                break
            tried.append(seat)
            try:
                return await self._ask(seat, prompt, ends_at - self._now())
            except (ModelBusy, ModelPaused, ModelUnavailable) as error:
                failures.append(error)
        raise self._verdict(prompt.model, failures, tried)

    async def close(self) -> None:
        """Close every endpoint; calls in flight end as ambiguous."""
        for seat in self._seats:
            await seat.endpoint.model.close()

    async def _ask(self, seat: Seat, prompt: ModelPrompt, seconds: float) -> ModelReply:
        started = self._now()
        with seat.call():
            try:
                reply = await seat.endpoint.model.answer(prompt, seconds)
            except ModelError as error:
                if seconds > 0:  # else nothing was sent: the request's haste says nothing of the endpoint
                    seat.failed(prompt.model, error)
                raise
        seat.answered(prompt.model, reply, started)
        return replace(reply, limits=self._limits(prompt.model))

    def _next(self, model: str, tried: Collection[Seat]) -> Seat | None:
        """The endpoint to ask; where all rest, the one that has least to rest: the gate says whether to call at all."""
        seats = [seat for seat in self._seats if seat.serves(model) and seat not in tried]
        place = pick([seat.standing(model) for seat in seats])
        if place is not None:
            return seats[place]
        return None if tried else min(seats, key=lambda seat: seat.rests_seconds(model), default=None)

    def _limits(self, model: str) -> dict[str, str]:
        """What all accounts have together that can be asked, as one: so the limits see one account."""
        accounts = {id(seat.limits): seat.limits for seat in self._able(model)}
        return summed(accounts.values(), model, self._now())

    def _able(self, model: str) -> list[Seat]:
        """Those that can answer now or in a moment: they have the model, and our key is not refused."""
        serving = (seat for seat in self._seats if seat.serves(model))
        return [seat for seat in serving if not seat.is_refused and not seat.refuses(model)]

    def _verdict(self, model: str, failures: Sequence[ModelError], tried: Collection[Seat]) -> ModelError:
        """What the gate and the payer are told: the failure that leaves most hope."""
        if not failures:
            return ModelUnavailable("no_endpoint", "no endpoint in HEADRACE_MODEL_ENDPOINTS serves this model")
        busy = [error for error in failures if isinstance(error, ModelBusy)]
        limited = [error for error in busy if error.limited]
        resting = [seat for seat in self._able(model) if seat not in tried]
        if not busy and resting:
            # Those that could be asked refuse; those that rest for a moment need not.
            seconds = min(seat.rests_seconds(model) for seat in resting)
            return ModelBusy("endpoints_busy", "the endpoints that are not refused rest", seconds, limited=True)
        if limited:
            soonest = min(limited, key=lambda error: error.retry_after_seconds or 0.0)
            return ModelBusy(
                soonest.code, soonest.message, soonest.retry_after_seconds, limited=True, limits=self._limits(model)
            )
        paused = [error for error in failures if isinstance(error, ModelPaused)]
        return [*busy, *paused, *failures][0]
