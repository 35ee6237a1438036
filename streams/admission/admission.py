"""Decides purely: the deadline still ahead, the template known, the prompt rendered."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from schemas.fingerprint import fingerprint_of
from schemas.identity import Fingerprint
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.result import ErrorDetail
from schemas.templates import TemplateError, template_named


class Work(NamedTuple):
    """A request that was let in: what to ask, under which fingerprint, until when."""

    record: Record
    request: PromptRequest
    model: str
    fingerprint: Fingerprint
    started_at: datetime
    deadline: datetime
    traceparent: str | None


class Refusal(NamedTuple):
    """A request that was not let in; it becomes a result, never a silence."""

    work: Work
    status: Literal["rejected", "expired"]
    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What admission decides by."""

    default_model: str
    soft_deadline: timedelta


class Admission:
    """Lets requests in."""

    def __init__(self, rules: AdmissionRules) -> None:
        self._rules = rules

    def admit(self, record: Record, request: PromptRequest, now: datetime) -> Work | Refusal:
        """The work to do, or why not. Time spent is counted from `now`, when the worker took the record."""
        model = request.model or self._rules.default_model
        limit = now + self._rules.soft_deadline
        deadline = limit if request.deadline is None else min(limit, request.deadline)
        fingerprint = fingerprint_of(request, model)
        work = Work(record, request, model, fingerprint, now, deadline, record.header("traceparent"))
        if deadline <= now:
            return Refusal(
                work,
                "expired",
                ErrorDetail(code="deadline_passed", message="the deadline had passed when the request was taken"),
            )
        if request.template is not None:
            try:
                template_named(request.template).check(request.variables)
            except TemplateError as error:
                return Refusal(work, "rejected", ErrorDetail(code=error.code, message=str(error)))
        return work
