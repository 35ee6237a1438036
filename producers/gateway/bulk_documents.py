"""The forms of answers about bulk jobs, for the OpenAPI document."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from schemas.result import Usd


class RejectedItemDocument(BaseModel):
    """An item that makes no request. `line` is where it stood in the upload."""

    item: int
    line: int
    reason: str


class JobDocument(BaseModel):
    """A job from its book: how many of its items have a verdict."""

    id: UUID
    state: Literal["uploading", "interrupted", "sealed", "cancelled"]
    items: int
    accepted: int
    rejected: int
    created_at: datetime
    sealed_at: datetime | None
    cancelled_at: datetime | None


class JobReceipt(JobDocument):
    """What an upload is answered, with the first 1,000 refusals."""

    rejections: list[RejectedItemDocument]
    more_rejections: bool


class RehearsedUpload(BaseModel):
    """What an upload would be answered."""

    dry_run: Literal[True]
    items: int
    accepted: int
    rejected: int
    rejections: list[RejectedItemDocument]
    more_rejections: bool


class FailureDocument(BaseModel):
    """Lines that ended without an answer for one reason."""

    reason: str
    lines: int


class JobStatus(JobDocument):
    """A job with how far its lines are; money is text, so that no digit is lost."""

    done: int
    percent: float
    by_status: dict[str, int]
    by_source: dict[str, int]
    failures: list[FailureDocument]
    rate_per_second: float
    eta_seconds: float | None
    cost_usd: Usd
    saved_usd: Usd
    last_completed_at: datetime | None


class JobPage(BaseModel):
    """Jobs, the newest first; `next` is the `before` of the page behind, null at the end."""

    jobs: list[JobDocument]
    next: UUID | None


class Verdict(BaseModel):
    """Of one item: the id it was accepted under, or where it stood and why it was refused."""

    status: Literal["accepted", "rejected"]
    item: int
    request_id: UUID | None = None
    line: int | None = None
    reason: str | None = None


class VerdictPage(BaseModel):
    """Verdicts in the order of the items; `next` is the `after` of the page behind, null at the end."""

    lines: list[Verdict]
    next: int | None
