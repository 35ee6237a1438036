"""Accepting requests: checked, published, confirmed by the broker, and only then told to be accepted."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Any, Final, assert_never
from uuid import UUID

from producers.gateway.bodies import check_model, object_in, request_of
from producers.gateway.budgets import BudgetCheck, SpentBudget
from producers.gateway.callers import Caller
from producers.gateway.idempotency import IdempotencyStore, IdempotencyUnavailableError, KeyUse, key_use, refuse
from producers.gateway.ids import SignedIds
from producers.gateway.load import Load, Overload
from producers.gateway.problems import Problem
from producers.publisher import Publisher, PublisherClosedError, PublishError
from producers.request_producer import request_record
from producers.uuid7 import time_of
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest
from schemas.topics import MAX_VALUE_BYTES, Lane

_BROKER_AWAY_SECONDS: Final = 2.0
_STORE_AWAY_SECONDS: Final = 2.0
_REFUSED_FOR_SURE: Final = ("message size too large", "queue stayed full", "queue full")


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """The broker has it, now or, where it is `repeated`, since an earlier call with the same Idempotency-Key."""

    request_id: UUID
    accepted_at: datetime
    lane: Lane
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """What one call asks for, checked as far as it can be without asking anybody."""

    caller: Caller
    request: PromptRequest
    lane: Lane
    traceparent: str | None = None
    key: KeyUse | None = None


class Submitter:
    """Everything that decides whether a request is accepted; single requests, compatibility routes and bulk use it."""

    def __init__(
        self,
        ids: SignedIds,
        publisher: Publisher,
        keys: IdempotencyStore,
        budgets: BudgetCheck,
        load: Load,
        default_model: str,
    ) -> None:
        self._ids = ids
        self._publisher = publisher
        self._keys = keys
        self._budgets = budgets
        self._load = load
        self._default_model = default_model

    def read(
        self, caller: Caller, body: bytes, lane: Lane, traceparent: str | None = None, key: str | None = None
    ) -> Submission:
        """The submission in a body. Raises Problem 400, 403."""
        return self.prepare(caller, object_in(body), lane, traceparent, (key, body) if key is not None else None)

    def prepare(
        self,
        caller: Caller,
        fields: Mapping[str, Any],
        lane: Lane,
        traceparent: str | None = None,
        keyed: tuple[str, bytes] | None = None,
    ) -> Submission:
        """The submission that fields make; `keyed` is an Idempotency-Key and the bytes it stands for.

        Raises Problem 400, 403.
        """
        request = self.new_request(caller, fields)
        use = None if keyed is None else key_use(caller.tenant, keyed[0], lane, keyed[1], request.request_id)
        return Submission(caller, request, lane, traceparent, use)

    def new_request(self, caller: Caller, fields: Mapping[str, Any]) -> PromptRequest:
        """The request that fields make, under a new id. Raises Problem 400, 403."""
        return self.checked(caller, fields, self._ids.new(caller.tenant))

    def checked(self, caller: Caller, fields: Mapping[str, Any], request_id: UUID) -> PromptRequest:
        """The request under the given id, once everything that needs no server allows it. Raises Problem 400, 403."""
        request = request_of(caller, fields, request_id)
        check_model(caller, request, self._default_model)
        return request

    async def submit(self, submission: Submission) -> AcceptedRequest:
        """Return when the broker has it. Raises Problem 402, 409, 413, 422, 429, 503."""
        if submission.key is None:
            await self._accept(submission)
            return self._accepted(submission, submission.request.request_id)
        try:
            return await self._submit_once(submission, submission.key)
        except IdempotencyUnavailableError:
            headers = {"Retry-After": str(ceil(_STORE_AWAY_SECONDS))}
            detail = "Idempotency-Keys cannot be checked now; nothing was accepted"
            next_step = "Send the same again later, or without the key."
            raise Problem(503, "idempotency_unavailable", detail, next_step, headers=headers) from None

    async def check_budget(self, request: PromptRequest) -> None:
        """Raises Problem 402 where a budget is spent already."""
        spent = await self._budgets.spent(request)
        if spent is not None:
            raise _unpaid(spent)

    def check_load(self, tenant: str, lane: Lane) -> None:
        """Raises Problem 429 or 503 where nothing more is taken in."""
        overload = self._load.overload(tenant, lane)
        if overload is not None:
            raise _overloaded(overload)

    async def publish(
        self, tenant: str, requests: Sequence[PromptRequest], lane: Lane, traceparent: str | None = None
    ) -> None:
        """Return when the broker has all. Raises Problem 413, 503; of the latter it is not known what it has."""
        records = [request_record(request, lane, traceparent) for request in requests]
        for record in records:
            _check_size(record)
        try:
            await self._publisher.publish(records)
        except PublisherClosedError:
            raise _ending() from None
        except PublishError as error:
            raise self._unconfirmed(error, requests) from None
        self._load.note_accepted(tenant, lane, len(requests))

    async def _submit_once(self, submission: Submission, use: KeyUse) -> AcceptedRequest:
        begun = await self._keys.begin(use)
        refuse(begun)
        if begun.verdict == "repeated":
            return self._accepted(submission, begun.request_id, repeated=True)
        held = replace(use, request_id=begun.request_id)
        try:
            await self._accept(_under(submission, begun.request_id))
        except Problem as problem:
            with suppress(IdempotencyUnavailableError):
                await self._keys.release(held, published=problem.code == "outcome_unknown")
            raise
        # The broker has it; unconfirmed, a repeat takes over after the lease, under the same id.
        with suppress(IdempotencyUnavailableError):
            await self._keys.confirm(held)
        return self._accepted(submission, begun.request_id)

    async def _accept(self, submission: Submission) -> None:
        request = submission.request
        self.check_load(request.tenant, submission.lane)
        await self.check_budget(request)
        await self.publish(request.tenant, [request], submission.lane, submission.traceparent)

    def _accepted(self, submission: Submission, request_id: UUID, *, repeated: bool = False) -> AcceptedRequest:
        return AcceptedRequest(request_id, time_of(request_id), submission.lane, repeated)

    def _unconfirmed(self, error: PublishError, requests: Sequence[PromptRequest]) -> Problem:
        request_id = requests[0].request_id if len(requests) == 1 else None
        headers = {"Retry-After": str(ceil(_BROKER_AWAY_SECONDS))}
        if all(any(known in refusal.reason.lower() for known in _REFUSED_FOR_SURE) for refusal in error.refusals):
            detail = "the broker takes nothing more now; nothing was accepted"
            return Problem(503, "broker_refused", detail, "Send it again later.", headers=headers)
        self._load.note_broker_silent()
        detail = "the broker did not confirm in time: the request may or may not be accepted"
        next_step = (
            "Send the same again with the same Idempotency-Key, or look the id up: it is answered if it was accepted."
        )
        return Problem(503, "outcome_unknown", detail, next_step, headers=headers, request_id=request_id)


def _under(submission: Submission, request_id: UUID) -> Submission:
    """The same under the id that its Idempotency-Key was given first."""
    if submission.request.request_id == request_id:
        return submission
    ours = {"request_id": request_id, "accepted_at": time_of(request_id)}
    return replace(submission, request=submission.request.model_copy(update=ours))


def _check_size(record: OutgoingRecord) -> None:
    size = len(record.value or b"")
    if size > MAX_VALUE_BYTES:
        detail = f"the request has {size} bytes, the limit is {MAX_VALUE_BYTES}"
        raise Problem(413, "request_too_large", detail, "Shorten the messages or variables.")


def _unpaid(spent: SpentBudget) -> Problem:
    seconds = spent.resets_in_seconds
    headers = {} if seconds is None else {"Retry-After": str(max(1, ceil(seconds)))}
    detail = f"the budget {spent.name} is spent"
    return Problem(402, "budget_spent", detail, "Ask for more, or wait for its next period.", headers=headers)


def _overloaded(overload: Overload) -> Problem:
    headers = {"Retry-After": str(max(1, ceil(overload.retry_after_seconds)))}
    match overload.code:
        case "broker_away":
            status, detail = 503, "the broker cannot be reached; nothing was accepted"
        case "backlog":
            status, detail = 503, "more requests wait than may; nothing was accepted"
        case "tenant_backlog":
            status, detail = 429, "this tenant's share of the queue is full; nothing was accepted"
        case _:
            assert_never(overload.code)
    return Problem(status, overload.code, detail, "Send it again after Retry-After seconds.", headers=headers)


def _ending() -> Problem:
    return Problem(503, "ending", "this copy is ending", "Send it again.", headers={"Retry-After": "1"})
