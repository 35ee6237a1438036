"""What the routes say, as models for the OpenAPI document. Answers are written without them; tests join the two."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from producers.gateway.lookup import LiveStatus
from schemas.identity import Name
from schemas.request import LabelKey, LabelValue, TemplateRef
from schemas.result import Answer, Count, Source, Usage, Usd
from schemas.topics import Lane

Money = Usd


class Closed(BaseModel):
    """A document without other members."""

    model_config = ConfigDict(extra="forbid")


class Accepted(Closed):
    """The broker has the request."""

    request_id: UUID
    status: Literal["pending"]
    lane: Lane
    accepted_at: AwareDatetime


class RequestTiming(Closed):
    """When it happened, as far as it has."""

    accepted_at: AwareDatetime
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    queue_ms: Count | None
    model_ms: Count | None


class RequestError(Closed):
    """Why there is no answer."""

    code: str
    message: str | None


class RequestStatus(Closed):
    """How one request stands. `attempts` counts the calls of the model so far; money is absent where it is unknown."""

    request_id: UUID
    status: LiveStatus
    lane: Lane | None
    department: Name | None
    user_id: Name | None
    application: Name | None
    labels: dict[LabelKey, LabelValue]
    template: TemplateRef | None
    attempts: Count | None
    source: Source | None
    model: Name | None
    timing: RequestTiming
    usage: Usage | None
    cost_usd: Money | None
    saved_usd: Money | None
    paid_by: UUID | None
    answer: Answer | None
    error: RequestError | None


class RequestPage(Closed):
    """Some requests, the newest first; `next_cursor` is absent on the last page."""

    requests: list[RequestStatus]
    next_cursor: str | None


class Cancelling(Closed):
    """The cancellation is on its way to the workers."""

    request_id: UUID
    status: Literal["cancelling"]


class DeviceJob(Closed):
    """A configuration that is being made."""

    job_id: UUID
    status: Literal["pending"]
    device_name: str


class RefusedDevice(Closed):
    """A device whose request was not accepted; `index` counts from 0."""

    index: int
    error: str


class DeviceJobs(Closed):
    """What became of each device, in order."""

    status: Literal["pending"]
    accepted: int
    jobs: list[DeviceJob]
    rejected: list[RefusedDevice]


class DeviceJobStatus(Closed):
    """How the configuration of one device stands."""

    job_id: UUID
    status: LiveStatus
    device_name: str | None
    result: str | None
    error: str | None
    created_at: AwareDatetime
    completed_at: AwareDatetime | None


class ProblemDocument(BaseModel):
    """A refusal (RFC 9457): `code` to branch on, `next` to act on."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: str
    detail: str
    next: str
    request_id: UUID | None = None
