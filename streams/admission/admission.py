"""Decides purely: the deadline still ahead, the template known, the prompt rendered."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple

from schemas.fingerprint import identify
from schemas.identity import Fingerprint
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.result import ErrorDetail
from schemas.retry import attempts_of
from schemas.templates import TemplateError, template_named


class Work(NamedTuple):
    """A request that was let in: what to ask and under which fingerprint. `attempts` were burnt before this one.

    `own` is the fingerprint with everything in it, `left_out` what `fingerprint` lacks of that. Answers asked for
    before `fresh_since_ms` are invalidated. `key_number` says which of its keys is tried, see `streams/sharing.py`.
    """

    record: Record
    request: PromptRequest
    model: str
    fingerprint: Fingerprint
    started_at: datetime
    attempts: int
    traceparent: str | None
    own: Fingerprint
    left_out: tuple[str, ...] = ()
    fresh_since_ms: int = 0
    key_number: int = 0


class Refusal(NamedTuple):
    """A request that was not let in; it becomes a result, never a silence."""

    work: Work
    status: Literal["rejected", "expired"]
    error: ErrorDetail


FreshSince = Callable[[PromptRequest, str], int]
"""Since when, in milliseconds, answers to a request of this model are good; 0: since ever."""


def _since_ever(request: PromptRequest, model: str) -> int:
    del request, model
    return 0


class Admission:
    """Lets requests in. `default_model` is asked where a request names none."""

    def __init__(self, default_model: str, fresh_since_ms: FreshSince = _since_ever) -> None:
        self._default_model = default_model
        self._fresh_since_ms = fresh_since_ms

    def admit(self, record: Record, request: PromptRequest, now: datetime) -> Work | Refusal:
        """The work to do, or why not. `now` is when the worker took the record."""
        model = request.model or self._default_model
        fingerprint, own, left_out = identify(request, model)
        attempts, traceparent = attempts_of(record), record.header("traceparent")
        since = self._fresh_since_ms(request, model)
        work = Work(record, request, model, fingerprint, now, attempts, traceparent, own, left_out, since)
        if request.deadline is not None and request.deadline <= now:
            message = "the deadline had passed when the request was taken"
            return Refusal(work, "expired", ErrorDetail(code="deadline_passed", message=message))
        if request.template is not None:
            try:
                template_named(request.template).check(request.variables)
            except TemplateError as error:
                return Refusal(work, "rejected", ErrorDetail(code=error.code, message=str(error)))
        return work
