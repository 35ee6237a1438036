"""Taking a call from its caller's quotas, and telling the caller how much is left."""

import math
from typing import Final

from fastapi import Request

from producers.gateway.callers import Caller
from producers.gateway.outgoing import add_to_answer
from producers.gateway.problems import Problem
from producers.gateway.quotas import QuotaAsk, Quotas, QuotaVerdict

_NEXT: Final = {
    "rate": "Wait as long as Retry-After says, then send it again.",
    "day": "Send it again after midnight UTC, or ask for a larger quota: headrace keys create --per-day ...",
    "bytes": "Send it again after midnight UTC, or ask for a larger quota: headrace keys create --bytes-per-day ...",
    "jobs": "Wait until one of the running bulk jobs has ended, or cancel one.",
}


async def take_quota(
    quotas: Quotas,
    request: Request,
    caller: Caller,
    *,
    requests: int = 0,
    body_bytes: int = 0,
    user: str | None = None,
) -> None:
    """Count this call; its answer carries the `RateLimit` headers. Raises Problem 429. Ask once per call."""
    address = request.client.host if request.client else ""
    verdict = await quotas.spend(QuotaAsk(caller, requests, body_bytes, user, address))
    add_to_answer(request, verdict.headers)
    if not verdict.allowed:
        raise quota_refusal(verdict)


def quota_refusal(verdict: QuotaVerdict) -> Problem:
    """What a caller over its quota is told; the `RateLimit` headers are `take_quota`'s."""
    subject, _, kind = verdict.refused_by.partition("_")
    headers = {"Retry-After": str(max(1, math.ceil(verdict.retry_after_seconds)))}
    detail = f"the quota {kind} of this {subject} is used up"
    return Problem(
        429, "quota_exceeded", detail, _NEXT.get(kind, _NEXT["rate"]), headers=headers, quota=verdict.refused_by
    )
