"""What an upstream system asks: one prompt, who asks it, and how it may be answered."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from schemas.identity import Name, TenantId

REQUEST_TYPE: Final = "com.headrace.request.v1"
DEFAULT_MAX_TOKENS: Final = 1024
MAX_LABELS: Final = 16
DAY_SECONDS: Final = 24 * 60 * 60

LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,63}$")]
LabelValue = Annotated[str, StringConstraints(max_length=256)]
TemplateRef = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}@[1-9][0-9]{0,3}$")]


def _strict_json(blocks: list[dict[str, JsonValue]]) -> list[dict[str, JsonValue]]:
    """NaN, infinity and lone surrogates parse here but cannot be sent on: refused before anybody claims the request."""
    try:
        json.dumps(blocks, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise ValueError("content blocks must be strict JSON: finite numbers, valid Unicode") from None
    return blocks


Text = Annotated[str, StringConstraints(min_length=1)]
Blocks = Annotated[list[dict[str, JsonValue]], Field(min_length=1), AfterValidator(_strict_json)]

# What `_asks_one_thing` checks, for readers of the published schema.
_ONE_QUESTION: Final[dict[str, JsonValue]] = {
    "oneOf": [
        {
            "required": ["messages"],
            "properties": {
                "messages": {"type": "array"},
                "template": {"type": "null"},
                "variables": {"maxProperties": 0},
            },
        },
        {
            "required": ["template"],
            "properties": {"template": {"type": "string"}, "messages": {"type": "null"}, "system": {"type": "null"}},
        },
    ]
}


class Message(BaseModel):
    """One turn in the shape of the Messages API: text, or its list of content blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    content: Text | Blocks


class CachePolicy(BaseModel):
    """How far a stored answer will do.

    `use` takes one, `refresh` asks the model and stores its answer, `bypass` does neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["use", "refresh", "bypass"] = "use"
    ttl_seconds: Annotated[int, Field(ge=1, le=30 * DAY_SECONDS)] | None = None
    freshness: Literal["stable", "volatile"] = "stable"


class PromptRequest(BaseModel):
    """One accepted request. Exactly one of `messages` and `template` says what to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_ONE_QUESTION)

    request_id: UUID
    tenant: TenantId
    department: Name | None = None
    user_id: Name | None = None
    application: Name | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)] = {}
    model: Name | None = None
    max_tokens: Annotated[int, Field(ge=1, le=128_000)] = DEFAULT_MAX_TOKENS
    system: str | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)] | None = None
    template: TemplateRef | None = None
    variables: Annotated[dict[LabelKey, str], Field(max_length=64)] = Field(
        default_factory=dict,
        json_schema_extra={"default": {}},  # a literal would be copied deeply each time
    )
    cache: CachePolicy = CachePolicy()
    deadline: AwareDatetime | None = None
    accepted_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.messages is None) == (self.template is None):
            raise ValueError("give either `messages` or `template`, not both and not neither")
        if self.messages is not None and self.messages[0].role != "user":
            raise ValueError("the first message must have the role `user`")
        if self.template is not None and self.system is not None:
            raise ValueError("`system` goes with `messages`; a template has its own")
        if self.template is None and self.variables:
            raise ValueError("`variables` go with `template`")
        return self

    def dimensions(self) -> dict[str, Any]:
        """Who asked and under which labels, as far as it was said: carried unchanged into the result."""
        values = self.__dict__
        return {name: values[name] for name in DIMENSIONS if values[name] is not None}


DIMENSIONS: Final = ("request_id", "tenant", "department", "user_id", "application", "labels", "template")
