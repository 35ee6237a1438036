"""What a test or an operator sets over `PUT /_rehearsal/settings`."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FaultKind = Literal["hang", "drip", "cut", "reset_before", "reset_after_headers", "malformed"]
FaultStatus = Literal[400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 504, 529]

DEFAULT_HANG_SECONDS: Final = 3600.0
DEFAULT_DRIP_SECONDS: Final = 30.0


class LatencyDistribution(BaseModel):
    """A lognormal distribution by two of its quantiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median: Annotated[float, Field(gt=0)]
    p95: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.p95 < self.median:
            raise ValueError("p95 must not be below the median")
        return self


class FaultMatch(BaseModel):
    """Which calls a rule is for; every part that is given must fit, none given fits all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    """A substring of the model's id."""
    prompt_contains: str | None = None
    request_id: str | None = None
    """A regular expression searched in the header `x-headrace-request-id`."""


class FaultRule(BaseModel):
    """A scripted failure: a `status` that refuses, or a `kind` that spoils the answer on its way.

    `share` of the calls that match are hit, spread evenly and reproducibly; `count` bounds how many in all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: FaultMatch | str = FaultMatch()
    """A bare string is searched in the model's id and in the prompt."""
    status: FaultStatus | None = None
    kind: FaultKind | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=0)] | None = None
    retry_after: float | str | None = None
    """The header as it is sent: seconds or any text; `none` leaves it out. Without it a 429 says one second."""
    retry_after_ms: float | None = None
    error_code: str | None = None
    message: str | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    """How long a `hang` or a `drip` lasts."""
    charged: bool | None = None
    """Whether a spoilt answer costs. Without it: yes, but for `reset_before`. A status never costs."""

    @model_validator(mode="after")
    def _is_one_fault(self) -> Self:
        if (self.status is None) == (self.kind is None):
            raise ValueError("a fault has either `status` or `kind`")
        return self

    @property
    def is_charged(self) -> bool:
        return self.kind != "reset_before" if self.charged is None else self.charged


class Limits(BaseModel):
    """Token buckets over all keys and models; one that is absent does not limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    input_tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    output_tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    burst_seconds: Annotated[float, Field(gt=0, le=60)] = 60.0
    """How many seconds' worth a full bucket holds."""


class RehearsalSettings(BaseModel):
    """All there is to set. A `PUT` replaces the fields it names and keeps the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_seconds: Annotated[float, Field(ge=0)] | LatencyDistribution = LatencyDistribution(median=0.8, p95=2.0)
    faults: list[FaultRule] = []
    limits: Limits | None = None

    def updated_by(self, document: bytes) -> "RehearsalSettings":
        """These settings with the fields of a JSON document put in. Raises pydantic.ValidationError."""
        given = RehearsalSettings.model_validate_json(document)
        return self.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})
