"""One submitted request from its bytes to its answer: quotas, acceptance, and the wait for a quick result."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from producers.gateway.callers import Caller
from producers.gateway.problems import Problem
from producers.gateway.quotas import QuotaAsk, Quotas, QuotaVerdict
from producers.gateway.status import PENDING, Json, StatusDesk, document_of_result
from producers.gateway.submitting import AcceptedRequest, Submission, Submitter
from producers.gateway.waiting import ResultWaiter
from schemas.topics import Lane
from schemas.trace import trace_id_of

LONGEST_WAIT_SECONDS: Final = 60.0

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call beside its body."""

    caller: Caller
    address: str
    lane: Lane = "interactive"
    wait_seconds: float = 0.0
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that was accepted; `document` is there where it has ended already. `headers` are of its quotas."""

    accepted: AcceptedRequest
    document: Json | None
    headers: Headers


class FrontDesk:
    """What the routes that submit call."""

    def __init__(self, submitter: Submitter, quotas: Quotas, waiter: ResultWaiter, desk: StatusDesk) -> None:
        self._submitter = submitter
        self._quotas = quotas
        self._waiter = waiter
        self._desk = desk

    async def take_body(self, call: Call, body: bytes) -> Taken:
        """Accept the request in a body of JSON. Raises Problem."""
        submission = self._submitter.read(call.caller, body, call.lane, _trace(call.traceparent), call.idempotency_key)
        return await self._take(call, submission, len(body))

    async def take_fields(self, call: Call, fields: Mapping[str, Any], size_bytes: int) -> Taken:
        """Accept the request that these fields make. Raises Problem."""
        submission = self._submitter.prepare(call.caller, fields, call.lane, _trace(call.traceparent))
        return await self._take(call, submission, size_bytes)

    async def spend(self, call: Call, requests: int, size_bytes: int, user: str | None) -> Headers:
        """Take from the quotas; the headers that say what is left. Raises Problem 429."""
        verdict = await self._quotas.spend(QuotaAsk(call.caller, requests, size_bytes, user, call.address))
        if not verdict.allowed:
            raise _over_quota(verdict)
        return verdict.headers

    async def _take(self, call: Call, submission: Submission, size_bytes: int) -> Taken:
        headers = await self.spend(call, 1, size_bytes, submission.request.user_id)
        if call.wait_seconds <= 0:
            return Taken(await self._submitter.submit(submission), None, headers)
        # Listened for before it is published: a cached answer may be there before the broker's confirmation.
        with self._waiter.expecting(submission.request.tenant, submission.request.request_id) as expected:
            accepted = await self._submitter.submit(submission)
            if not accepted.repeated and accepted.request_id == submission.request.request_id:
                result = await expected.result(call.wait_seconds)
                return Taken(accepted, None if result is None else document_of_result(result), headers)
        return Taken(accepted, await self._await_earlier(call, accepted), headers)

    async def _await_earlier(self, call: Call, accepted: AcceptedRequest) -> Json | None:
        """The end of a request that was published before we listened: it may be written already."""
        tenant = call.caller.tenant
        with self._waiter.expecting(tenant, accepted.request_id) as expected:
            document = await self._desk.status(tenant, accepted.request_id)
            if document["status"] not in {PENDING, "processing", "retrying"}:
                return document
            result = await expected.result(call.wait_seconds)
        return None if result is None else document_of_result(result)


def _trace(traceparent: str | None) -> str | None:
    """The caller's trace, if it is one."""
    return traceparent if trace_id_of(traceparent) is not None else None


def _over_quota(verdict: QuotaVerdict) -> Problem:
    headers = dict(verdict.headers) | {"Retry-After": str(max(1, ceil(verdict.retry_after_seconds)))}
    detail = f"the quota {verdict.refused_by} is used up; nothing was accepted"
    return Problem(429, "quota_exceeded", detail, "Send it again after Retry-After seconds.", headers=headers)
