"""What every worker is told beside the work: events on the control topic."""

from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.identity import Name, TenantId

CANCEL_TYPE: Final = "com.headrace.cancel.v1"


class CancelRequest(BaseModel):
    """Answer that request of that tenant no more; another tenant's request of the same id is untouched.

    With `through`, all requests whose ids lie between the two, both included: the lines of a bulk job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: UUID
    tenant: TenantId
    by: Name
    """Who asks: a person, or a program."""
    at: AwareDatetime
    through: UUID | None = None
