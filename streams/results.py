"""Results, purely from the request and the stored answer: the same twice for the request that paid (invariant C)."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import orjson

from schemas.codec import encode_result, result_record
from schemas.record import OutgoingRecord
from schemas.result import ErrorDetail, PromptResult, Source, Status, Timing
from streams.admission import Work
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.validation import passed

_NOTHING: Final = Decimal(0)
_MILLISECOND: Final = timedelta(milliseconds=1)


def completed(work: Work, stored: StoredAnswer, source: Source, now: datetime) -> PromptResult:
    """The answer for `work`. For the request that paid, source, cost and times are those of the paid call."""
    if stored.paid_by == work.request.request_id:
        return _result(
            work,
            "completed",
            answer=stored.answer,
            source="model",
            model=stored.model,
            requested_model=stored.requested_model,
            usage=stored.usage,
            cost_usd=stored.cost_usd,
            saved_usd=_NOTHING,
            attempts=stored.attempts,
            timing=_timing(work, stored.started_at, stored.completed_at, stored.model_ms),
            paid_by=stored.paid_by,
            validation=stored.validation,
        )
    return _result(
        work,
        "completed",
        answer=stored.answer,
        source=source,
        model=stored.model,
        requested_model=stored.requested_model,
        cost_usd=_NOTHING,
        saved_usd=stored.cost_usd,
        timing=_timing(work, work.started_at, now),
        paid_by=stored.paid_by,
        validation=passed(work.request),
    )


def from_entry(work: Work, entry: CacheEntry, source: Source, now: datetime) -> OutgoingRecord:
    """The record of the same result as `completed` gives, the stored bytes taken over unparsed.

    This is the path that thousands of hits a second take; a law in the tests holds the two equal.
    """
    request = work.request
    request_id = str(request.request_id)
    if entry.paid_by == request_id:
        return encode_result(completed(work, entry.stored(), source, now), work.traceparent)
    members: dict[str, object] = {
        **request.dimensions(),
        "status": "completed",
        "source": source,
        "cost_usd": "0",
        "timing": {
            "accepted_at": request.accepted_at,
            "started_at": work.started_at,
            "completed_at": now,
            "queue_ms": _queue_ms(work, work.started_at),
        },
        "fingerprint": work.fingerprint,
    }
    if (validation := passed(request)) is not None:
        members["validation"] = validation.model_dump(exclude_none=True)
    value = b"%s,%s" % (orjson.dumps(members, option=orjson.OPT_UTC_Z)[:-1], entry.shared[1:])
    return result_record(request_id, request.tenant, _iso(now), value, work.traceparent)


def cancelled(work: Work, billed: CacheEntry | None, now: datetime) -> PromptResult:
    """The end of a request that was withdrawn; with `billed`, what its own call had cost by then."""
    stored = billed.stored() if billed is not None and billed.paid_by == str(work.request.request_id) else None
    error = ErrorDetail(code="cancelled", message="the request was cancelled")
    if stored is None:
        return not_answered(work, "cancelled", error, work.attempts, now)
    return _result(
        work,
        "cancelled",
        error=error,
        source="model",
        model=stored.model,
        requested_model=stored.requested_model,
        usage=stored.usage,
        cost_usd=stored.cost_usd,
        saved_usd=_NOTHING,
        attempts=stored.attempts,
        timing=_timing(work, stored.started_at, stored.completed_at, stored.model_ms),
        paid_by=stored.paid_by,
    )


def not_answered(work: Work, status: Status, error: ErrorDetail, attempts: int, now: datetime) -> PromptResult:
    """A terminal result without an answer."""
    return _result(
        work,
        status,
        error=error,
        model=work.model,
        cost_usd=_NOTHING,
        saved_usd=_NOTHING,
        attempts=attempts,
        timing=_timing(work, work.started_at, now),
    )


def _result(work: Work, status: Status, **fields: Any) -> PromptResult:
    return PromptResult(**work.request.dimensions(), status=status, fingerprint=work.fingerprint, **fields)


def _timing(work: Work, started_at: datetime, completed_at: datetime, model_ms: int = 0) -> Timing:
    return Timing(
        accepted_at=work.request.accepted_at,
        started_at=started_at,
        completed_at=completed_at,
        queue_ms=_queue_ms(work, started_at),
        model_ms=model_ms,
    )


@lru_cache(maxsize=64)
def _iso(moment: datetime) -> str:
    """A batch's records share their moments."""
    return moment.isoformat()


def _queue_ms(work: Work, started_at: datetime) -> int:
    return max((started_at - work.request.accepted_at) // _MILLISECOND, 0)
