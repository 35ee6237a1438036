"""How a request stands, as callers are told: from its row, its calls, or its id alone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from producers.gateway.ids import SignedIds
from producers.gateway.lookup import Calls, Known, LookupUnavailableError, RequestLookup, StoredRequest, Wanted
from producers.gateway.problems import Problem
from producers.uuid7 import time_of
from schemas.result import PromptResult
from schemas.topics import REQUESTS, TOPICS

Json = dict[str, Any]

PENDING: Final = "pending"
RETENTION: Final = timedelta(milliseconds=next(topic.retention_ms for topic in TOPICS if topic.name == REQUESTS))
"""A request that no store has seen by then has left its topic: nobody will."""

_AHEAD: Final = timedelta(minutes=5)
_STORE_AWAY: Final = {"Retry-After": "2"}


class StatusDesk:
    """Answers for one tenant at a time; another tenant's id looks exactly like a missing one."""

    def __init__(self, ids: SignedIds, lookup: RequestLookup, now: Callable[[], datetime]) -> None:
        self._ids = ids
        self._lookup = lookup
        self._now = now

    async def status(self, tenant: str, request_id: UUID) -> Json:
        """The document of one request. Raises Problem 404, 503."""
        if self._ids.is_our_job(tenant, request_id):
            raise _is_a_job(request_id)
        try:
            known = await self._lookup.find(tenant, request_id)
        except LookupUnavailableError:
            raise _away(request_id) from None
        if known.stored is not None:
            return document_of(known.stored, known.calls)
        if not self._was_accepted(tenant, request_id):
            raise missing(request_id)
        return document_of(_unwritten(tenant, request_id), known.calls)

    async def page(self, wanted: Wanted) -> list[Known]:
        """Raises Problem 503."""
        try:
            return list(await self._lookup.page(wanted))
        except LookupUnavailableError:
            raise _away(None) from None

    def _was_accepted(self, tenant: str, request_id: UUID) -> bool:
        """Whether this id was given out to the tenant so lately that its request may be on its way."""
        if not self._ids.is_ours(tenant, request_id):
            return False
        age = self._now() - time_of(request_id)
        return -_AHEAD < age < RETENTION


def missing(request_id: UUID) -> Problem:
    """The same for an id that never was and for one of another tenant."""
    return Problem(
        404,
        "request_unknown",
        "there is no such request",
        "Check the id; ids are not shared between tenants.",
        request_id=request_id,
    )


def _is_a_job(request_id: UUID) -> Problem:
    detail = "this is the id of a bulk job, not of a request"
    return Problem(404, "request_unknown", detail, f"Ask for it at /v1/bulk/{request_id}.", request_id=request_id)


def document_of(stored: StoredRequest, calls: Calls) -> Json:
    """What GET /v1/requests/{id} says; money is text, so that no digit is lost."""
    ended = stored.status != PENDING
    return {
        "request_id": stored.request_id,
        "status": live_status(stored, calls),
        "lane": stored.lane,
        "department": stored.department,
        "user_id": stored.user_id,
        "application": stored.application,
        "labels": stored.labels,
        "template": stored.template,
        "attempts": stored.attempts if ended else calls.count,
        "source": stored.source,
        "model": stored.model,
        "timing": {
            "accepted_at": stored.accepted_at,
            "started_at": stored.started_at,
            "completed_at": stored.completed_at,
            "queue_ms": stored.queue_ms,
            "model_ms": stored.model_ms,
        },
        "usage": _usage_of(stored),
        "cost_usd": _plain(stored.cost_usd),
        "saved_usd": _plain(stored.saved_usd),
        "paid_by": stored.paid_by,
        "answer": None if stored.answer is None else {"text": stored.answer, "stop_reason": stored.stop_reason},
        "error": None if stored.error_code is None else {"code": stored.error_code, "message": stored.error_message},
    }


def document_of_result(result: PromptResult) -> Json:
    """The same from a result that has just come in, before any store has it."""
    return document_of(_as_stored(result), Calls())


def live_status(stored: StoredRequest, calls: Calls) -> str:
    """A row is `pending` until its result is written; what its calls say is told instead."""
    if stored.status != PENDING:
        return stored.status
    if calls.last in {"not_paid", "ambiguous"}:
        return "retrying"
    return PENDING if calls.last is None else "processing"


def _unwritten(tenant: str, request_id: UUID) -> StoredRequest:
    return StoredRequest(request_id, tenant, None, None, None, {}, None, None, PENDING, time_of(request_id))


def _usage_of(stored: StoredRequest) -> Json | None:
    if stored.input_tokens is None:
        return None
    return {
        "input_tokens": stored.input_tokens,
        "output_tokens": stored.output_tokens,
        "cache_read_tokens": stored.cache_read_tokens,
        "cache_write_tokens": stored.cache_write_tokens,
    }


def _as_stored(result: PromptResult) -> StoredRequest:
    timing, usage, answer, error = result.timing, result.usage, result.answer, result.error
    return StoredRequest(
        request_id=result.request_id,
        tenant=result.tenant,
        department=result.department,
        user_id=result.user_id,
        application=result.application,
        labels=result.labels,
        template=result.template,
        lane=None,
        status=result.status,
        accepted_at=timing.accepted_at,
        started_at=timing.started_at,
        completed_at=timing.completed_at,
        queue_ms=timing.queue_ms,
        model_ms=timing.model_ms,
        source=result.source,
        model=result.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_usd=result.cost_usd,
        saved_usd=result.saved_usd,
        attempts=result.attempts,
        paid_by=result.paid_by,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
        answer=answer.text if answer else None,
        stop_reason=answer.stop_reason if answer else None,
    )


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _away(request_id: UUID | None) -> Problem:
    detail = "the store of results cannot be asked now"
    return Problem(
        503,
        "store_unavailable",
        detail,
        "Ask again later; nothing is lost.",
        headers=_STORE_AWAY,
        request_id=request_id,
    )
