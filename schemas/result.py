"""What a downstream consumer receives: exactly one terminal result per accepted request."""

from decimal import Decimal
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from schemas.identity import Fingerprint, Name, TenantId
from schemas.request import LabelKey, LabelValue, TemplateRef
from schemas.validation import Validation

RESULT_TYPE: Final = "com.headrace.result.v1"

Status = Literal["completed", "failed", "rejected", "expired", "cancelled"]
Source = Literal["model", "local_cache", "shared_cache", "ledger", "shared_flight"]
Count = Annotated[int, Field(ge=0)]
Usd = Annotated[
    Decimal,
    # A fraction of a cent in plain digits: Python would write 8E-7, which not every reader of decimals takes.
    PlainSerializer(lambda amount: format(amount, "f"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
]


class Answer(BaseModel):
    """The model's words and why it stopped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    stop_reason: str | None = None


class Usage(BaseModel):
    """Tokens of one paid call. `input_tokens` excludes those read from or written to the provider's prompt cache.

    `cache_write_1h_tokens` is the part of `cache_write_tokens` that is kept for an hour, where the caller asked for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    cache_write_1h_tokens: Count | None = None


class Timing(BaseModel):
    """When it happened; `queue_ms` is accepted to started, `model_ms` the paid call alone (0 without one)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted_at: AwareDatetime
    started_at: AwareDatetime
    completed_at: AwareDatetime
    queue_ms: Count = 0
    model_ms: Count = 0


class ErrorDetail(BaseModel):
    """Why there is no answer: a stable code to branch on, a sentence to read, whether asking again can help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    message: str
    retryable: bool = False


class PromptResult(BaseModel):
    """The end of one request.

    `usage` and `cost_usd` are what *this* request paid: zero unless `source` is `model`. `saved_usd` is what it
    would have paid without the cache. Both are absent when the model's price is unknown: never a false zero.
    `requested_model` is there where another model, `model`, answered in its place.
    `validation` is there where the template names a check of its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: UUID
    tenant: TenantId
    department: Name | None = None
    user_id: Name | None = None
    application: Name | None = None
    labels: dict[LabelKey, LabelValue] = {}
    template: TemplateRef | None = None
    status: Status
    answer: Answer | None = None
    source: Source | None = None
    model: Name | None = None
    requested_model: Name | None = None
    usage: Usage = Usage()
    cost_usd: Usd | None = None
    saved_usd: Usd | None = None
    attempts: Count = 0
    timing: Timing
    paid_by: UUID | None = None
    fingerprint: Fingerprint | None = None
    validation: Validation | None = None
    error: ErrorDetail | None = None
