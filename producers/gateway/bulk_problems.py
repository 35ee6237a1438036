"""Why an upload or a job is refused, in the form callers get."""

from math import ceil
from typing import Final
from uuid import UUID

from producers.gateway.bulk_book import Job, JobBusyError
from producers.gateway.bulk_lots import MOST_ITEMS
from producers.gateway.load import Overload
from producers.gateway.problems import Problem
from producers.gateway.quotas import QuotaVerdict

_AWAY_SECONDS: Final = 2


def refuse(verdict: QuotaVerdict, job: UUID | None = None) -> None:
    """Raises Problem 429 unless it may go on."""
    if not verdict.allowed:
        seconds = str(max(1, ceil(verdict.retry_after_seconds)))
        headers = {**dict(verdict.headers), "Retry-After": seconds}
        detail = f"the quota {verdict.refused_by} is used up"
        raise Problem(429, "quota_exceeded", detail, "Go on after Retry-After seconds.", headers=headers, job=job)


def jobs_away() -> Problem:
    headers = {"Retry-After": str(_AWAY_SECONDS)}
    detail = "the store of bulk jobs cannot be asked now"
    next_step = "Send it again later; with an Idempotency-Key it goes on where it was."
    return Problem(503, "jobs_unavailable", detail, next_step, headers=headers)


def overloaded(overload: Overload) -> Problem:
    """Nothing of the upload was read."""
    headers = {"Retry-After": str(max(1, ceil(overload.retry_after_seconds)))}
    status = 429 if overload.code == "tenant_backlog" else 503
    detail = "no more can be taken in now; nothing was accepted"
    return Problem(status, overload.code, detail, "Send it again after Retry-After seconds.", headers=headers)


def busy_elsewhere(busy: JobBusyError) -> Problem:
    headers = {"Retry-After": str(max(1, ceil(busy.retry_after_seconds)))}
    detail = "an upload under this Idempotency-Key is going on"
    next_step = "Wait for it, or go on after Retry-After seconds if it was cut."
    return Problem(409, "upload_in_progress", detail, next_step, headers=headers, job=busy.job)


def other_content(job: Job) -> Problem:
    detail = f"the first {job.items} items are not those that were accepted under this Idempotency-Key"
    return Problem(422, "other_content", detail, "Send the same content, or take another Idempotency-Key.", job=job.job)


def unreadable(detail: str, job: Job | None) -> Problem:
    next_step = "Correct it; under the same Idempotency-Key it goes on behind what was accepted."
    return Problem(400, "unreadable_upload", detail, next_step, job=None if job is None else job.job)


def too_many(job: Job | None) -> Problem:
    detail = f"a job has at most {MOST_ITEMS} items" + ("" if job is None else "; the first ones are accepted")
    next_step = "Send the rest as a job of its own."
    return Problem(413, "too_many_items", detail, next_step, job=None if job is None else job.job)


def job_lost(job: Job) -> Problem:
    detail = "the job was cancelled, or its upload goes on elsewhere"
    return Problem(409, "job_lost", detail, "See the job's state.", job=job.job)


def broker_silent(job: Job) -> Problem:
    headers = {"Retry-After": str(_AWAY_SECONDS)}
    detail = "the broker did not confirm some items in time"
    next_step = "Send the same upload again under the same Idempotency-Key: it goes on, nothing is asked twice."
    return Problem(503, "broker_away", detail, next_step, headers=headers, job=job.job)


def job_cancelled(job: Job) -> Problem:
    detail = "the job of this Idempotency-Key was cancelled"
    return Problem(409, "job_cancelled", detail, "Take another Idempotency-Key.", job=job.job)


def empty_upload(job: Job) -> Problem:
    return Problem(400, "empty_upload", "there is no item in it", "Send at least one item.", job=job.job)


def job_missing() -> Problem:
    """The same for one that never was and for another tenant's."""
    next_step = "Check the id; ids are not shared between tenants."
    return Problem(404, "job_unknown", "there is no such bulk job", next_step)


def broker_refused_cancel() -> Problem:
    headers = {"Retry-After": str(_AWAY_SECONDS)}
    detail = "no more lines are taken, but those that wait could not be cancelled: the broker is away"
    return Problem(503, "broker_away", detail, "Cancel it again.", headers=headers)
