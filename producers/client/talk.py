"""Every operation as a conversation: it yields a call or a pause, is sent what came of it, and returns the outcome.

Nothing here does I/O or knows whether it is driven by threads or by asyncio.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_json

from producers.client.calls import Answer, Call, Outcome, Pairs, body_of, new_key, pairs_of, read, told_by
from producers.client.documents import Submitted, has_ended
from producers.client.errors import Told, WaitTimeoutError, error_of
from producers.client.patience import Dice, Patience
from producers.client.uploads import Upload
from producers.gateway.bulk_documents import JobReceipt, JobStatus, Verdict, VerdictPage
from producers.gateway.documents import Accepted, Cancelling, RequestPage, RequestStatus
from schemas.request import PromptRequest
from schemas.topics import Lane

VerdictFilter = Literal["all", "accepted", "rejected"]

_OK: Final = 200
_FIRST_REFUSAL: Final = 300
_PASSING: Final = frozenset({429, 502, 503, 504})
_PASSING_CONFLICTS: Final = frozenset({"idempotency_key_in_progress", "upload_in_progress"})
_FIRST_LOOK_SECONDS: Final = 0.1
_LONGEST_LOOK_SECONDS: Final = 2.0
_UPLOAD_SECONDS: Final = 120.0
"""Beyond the usual: an upload is answered when the broker has all of it."""


class Pause(NamedTuple):
    """Go on after so long; nothing is sent back."""

    seconds: float


T = TypeVar("T")
D = TypeVar("D", bound=BaseModel)
Steps = Generator[Call | Pause, Any, T]
"""A `Call` is sent its Outcome, a `Pause` nothing."""
Page = tuple[list[T], str | None]
"""Some, and where the next ones begin; None at the end."""


def may_pass(outcome: Outcome) -> bool:
    """Whether the same call can end otherwise when it is sent again. Each of ours may be: see `calls`."""
    if not isinstance(outcome, Answer):
        return True
    if outcome.status == 409:  # noqa: PLR2004 - conflict
        return told_by(outcome).code in _PASSING_CONFLICTS
    return outcome.status in _PASSING


@dataclass(frozen=True, slots=True)
class Talk:
    """The operations, under one patience."""

    patience: Patience
    dice: Dice = random.random
    ticks: Callable[[], float] = field(default=time.monotonic)

    def answered(self, call: Call) -> Steps[Answer]:
        """The success, tried again while that may help. Raises GatewayError."""
        attempt, failing_since = 1, None
        while True:
            outcome: Outcome = yield call
            if isinstance(outcome, Answer) and _OK <= outcome.status < _FIRST_REFUSAL:
                return outcome
            now = self.ticks()
            failing_since = now if failing_since is None else failing_since
            told = told_by(outcome)
            pause = self.patience.pause_seconds(attempt, now - failing_since, told.retry_after_seconds, self.dice)
            if pause is None or not may_pass(outcome):
                raise error_of(told)
            yield Pause(pause)
            attempt += 1

    def submit(
        self, fields: Mapping[str, Any] | PromptRequest, lane: Lane | None, wait_seconds: float, key: str | None
    ) -> Steps[Submitted]:
        """Raises GatewayError."""
        query = pairs_of({"lane": lane, "wait": wait_seconds or None})
        headers = (("Content-Type", "application/json"), ("Idempotency-Key", key or new_key()))
        call = Call("POST", "/v1/requests", query, headers, to_json(body_of(fields)), wait_seconds)
        answer = yield from self.answered(call)
        repeated = answer.headers.get("idempotent-replayed") == "true"
        if answer.status == _OK:
            ended = _in(RequestStatus, answer)
            return Submitted(ended.request_id, ended.lane or lane, ended.timing.accepted_at, repeated, ended)
        accepted = _in(Accepted, answer)
        return Submitted(accepted.request_id, accepted.lane, accepted.accepted_at, repeated, None)

    def status(self, request_id: UUID) -> Steps[RequestStatus]:
        """Raises GatewayError."""
        return _in(RequestStatus, (yield from self.answered(Call("GET", f"/v1/requests/{request_id}"))))

    def cancel(self, request_id: UUID) -> Steps[None]:
        """Raises GatewayError."""
        _in(Cancelling, (yield from self.answered(Call("DELETE", f"/v1/requests/{request_id}"))))

    def page(self, query: Pairs, cursor: str | None) -> Steps[Page[RequestStatus]]:
        """Raises GatewayError."""
        call = Call("GET", "/v1/requests", (*query, *pairs_of({"cursor": cursor})))
        page = _in(RequestPage, (yield from self.answered(call)))
        return page.requests, page.next_cursor

    def wait(self, request_id: UUID, timeout_seconds: float) -> Steps[RequestStatus]:
        """Raises GatewayError, WaitTimeoutError."""
        waiting = Told(0, "still_running", f"not ended after {timeout_seconds:g} s", "Wait for it again.", request_id)
        return (yield from self._until(lambda: self.status(request_id), has_ended, timeout_seconds, waiting))

    def upload(self, upload: Upload, key: str | None) -> Steps[JobReceipt]:
        """Raises GatewayError."""
        headers = (
            ("Content-Type", upload.media_type),
            ("Content-Length", str(upload.size_bytes)),
            ("Idempotency-Key", key or new_key()),
        )
        call = Call("POST", "/v1/bulk", (), headers, upload, _UPLOAD_SECONDS)
        return _in(JobReceipt, (yield from self.answered(call)))

    def job(self, job: UUID) -> Steps[JobStatus]:
        """Raises GatewayError."""
        return _in(JobStatus, (yield from self.answered(Call("GET", f"/v1/bulk/{job}"))))

    def cancel_job(self, job: UUID) -> Steps[JobStatus]:
        """Raises GatewayError."""
        return _in(JobStatus, (yield from self.answered(Call("DELETE", f"/v1/bulk/{job}"))))

    def verdicts(self, job: UUID, wanted: VerdictFilter, after: str | None) -> Steps[Page[Verdict]]:
        """Raises GatewayError."""
        call = Call("GET", f"/v1/bulk/{job}/lines", pairs_of({"status": wanted, "after": after}))
        page = _in(VerdictPage, (yield from self.answered(call)))
        return page.lines, None if page.next is None else str(page.next)

    def wait_for_job(
        self, job: UUID, timeout_seconds: float, on_status: Callable[[JobStatus], None] | None
    ) -> Steps[JobStatus]:
        """Raises GatewayError, WaitTimeoutError."""

        def is_done(status: JobStatus) -> bool:
            if on_status is not None:
                on_status(status)
            return status.state in {"sealed", "cancelled"} and status.done >= status.accepted

        waiting = Told(0, "still_running", f"not done after {timeout_seconds:g} s", "Wait for it again.", job=job)
        return (yield from self._until(lambda: self.job(job), is_done, timeout_seconds, waiting))

    def _until(
        self, look: Callable[[], Steps[T]], holds: Callable[[T], bool], timeout_seconds: float, waiting: Told
    ) -> Steps[T]:
        deadline, pause = self.ticks() + timeout_seconds, _FIRST_LOOK_SECONDS
        while True:
            seen = yield from look()
            if holds(seen):
                return seen
            left = deadline - self.ticks()
            if left <= 0:
                raise WaitTimeoutError(waiting)
            yield Pause(min(left, pause * (0.75 + self.dice() / 2)))
            pause = min(_LONGEST_LOOK_SECONDS, pause * 1.5)


def _in(model: type[D], answer: Answer) -> D:
    return read(model, answer.body, answer.status)
