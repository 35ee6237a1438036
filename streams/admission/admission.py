"""Decides purely: the deadline still ahead, the template known, the prompt rendered."""

from datetime import datetime
from typing import Literal, NamedTuple

from schemas.fingerprint import fingerprint_of
from schemas.identity import Fingerprint
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.result import ErrorDetail
from schemas.retry import attempts_of
from schemas.templates import TemplateError, template_named


class Work(NamedTuple):
    """A request that was let in: what to ask and under which fingerprint. `attempts` were burnt before this one."""

    record: Record
    request: PromptRequest
    model: str
    fingerprint: Fingerprint
    started_at: datetime
    attempts: int
    traceparent: str | None


class Refusal(NamedTuple):
    """A request that was not let in; it becomes a result, never a silence."""

    work: Work
    status: Literal["rejected", "expired"]
    error: ErrorDetail


class Admission:
    """Lets requests in. `default_model` is asked where a request names none."""

    def __init__(self, default_model: str) -> None:
        self._default_model = default_model

    def admit(self, record: Record, request: PromptRequest, now: datetime) -> Work | Refusal:
        """The work to do, or why not. `now` is when the worker took the record."""
        model = request.model or self._default_model
        fingerprint = fingerprint_of(request, model)
        work = Work(record, request, model, fingerprint, now, attempts_of(record), record.header("traceparent"))
        if request.deadline is not None and request.deadline <= now:
            message = "the deadline had passed when the request was taken"
            return Refusal(work, "expired", ErrorDetail(code="deadline_passed", message=message))
        if request.template is not None:
            try:
                template_named(request.template).check(request.variables)
            except TemplateError as error:
                return Refusal(work, "rejected", ErrorDetail(code=error.code, message=str(error)))
        return work
