"""Results, purely from the request and the stored answer: the same twice for the request that paid (invariant C)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from schemas.result import ErrorDetail, PromptResult, Source, Status, Timing
from streams.admission import Work
from streams.cache.stored_answer import StoredAnswer

_NOTHING = Decimal(0)


def completed(work: Work, stored: StoredAnswer, source: Source, now: datetime) -> PromptResult:
    """The answer for `work`. For the request that paid, source, cost and times are those of the paid call."""
    if stored.paid_by == work.request.request_id:
        return _result(
            work,
            "completed",
            answer=stored.answer,
            source="model",
            model=stored.model,
            usage=stored.usage,
            cost_usd=stored.cost_usd,
            saved_usd=_NOTHING,
            attempts=stored.attempts,
            timing=_timing(work, stored.started_at, stored.completed_at, stored.model_ms),
            paid_by=stored.paid_by,
        )
    return _result(
        work,
        "completed",
        answer=stored.answer,
        source=source,
        model=stored.model,
        cost_usd=_NOTHING,
        saved_usd=stored.cost_usd,
        timing=_timing(work, work.started_at, now),
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
    accepted_at = work.request.accepted_at
    queue_ms = max(int((started_at - accepted_at).total_seconds() * 1000), 0)
    return Timing(
        accepted_at=accepted_at,
        started_at=started_at,
        completed_at=completed_at,
        queue_ms=queue_ms,
        model_ms=model_ms,
    )
