"""What the client returns beside the gateway's own documents and the results of `schemas`."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from producers.gateway.documents import RequestStatus
from schemas.result import PromptResult, Source, Status, Usd
from schemas.topics import Lane

_ENDED: Final = frozenset({"completed", "failed", "rejected", "expired", "cancelled"})


def has_ended(status: RequestStatus) -> bool:
    """Whether it will change no more."""
    return status.status in _ENDED


@dataclass(frozen=True, slots=True)
class Submitted:
    """The broker has the request; `ended` is there where its end came within `wait_seconds`.

    `repeated` says that it was accepted by an earlier call with the same key.
    """

    request_id: UUID
    lane: Lane | None
    accepted_at: AwareDatetime
    repeated: bool
    ended: RequestStatus | None


@dataclass(frozen=True, slots=True)
class StreamedResult:
    """A result, and the position behind it: a later stream can go on from there."""

    event_id: str
    result: PromptResult


class BulkResult(BaseModel):
    """The end of one item of a bulk job; `item` counts from 1."""

    model_config = ConfigDict(frozen=True)

    item: int
    request_id: UUID
    status: Status
    department: str | None = None
    user_id: str | None = None
    application: str | None = None
    labels: dict[str, str] | None = None
    template: str | None = None
    source: Source | None = None
    model: str | None = None
    accepted_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None
    queue_ms: int | None = None
    model_ms: int | None = None
    attempts: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Usd | None = None
    saved_usd: Usd | None = None
    paid_by: UUID | None = None
    error_code: str | None = None
    error_message: str | None = None
    answer: str | None = None
    stop_reason: str | None = None
