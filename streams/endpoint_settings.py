"""What can be set of one model endpoint in `HEADRACE_MODEL_ENDPOINTS`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

# Names are metric labels.
EndpointName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class EndpointKeyError(RuntimeError):
    """The key of an endpoint cannot be read; the message holds nothing of it."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        super().__init__(f"the key of model endpoint {name} cannot be read from {path} ({reason}); put it there")


class ModelEndpoint(BaseModel):
    """A key at an address. Without `base_url`: Anthropic's own. The key is given, or a file that holds it alone.

    Endpoints of one `account` share its rate limits; without one each is an account of its own. `models`: those it
    serves, by their ids; none given, all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: EndpointName
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    account: EndpointName | None = None
    models: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if (self.api_key is None) == (self.api_key_file is None):
            raise ValueError("give each endpoint either `api_key` or `api_key_file`")
        return self

    def key(self) -> str:
        """The secret itself. Raises EndpointKeyError."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        assert self.api_key_file is not None  # noqa: S101 - one of the two is set
        try:
            text = self.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise EndpointKeyError(self.name, self.api_key_file, type(error).__name__) from None
        if not text:
            raise EndpointKeyError(self.name, self.api_key_file, "empty")
        return text


def _named_apart(endpoints: tuple[ModelEndpoint, ...]) -> tuple[ModelEndpoint, ...]:
    if len({endpoint.name for endpoint in endpoints}) < len(endpoints):
        raise ValueError("give each model endpoint a name of its own")
    return endpoints


ModelEndpoints = Annotated[tuple[ModelEndpoint, ...], Field(max_length=16), AfterValidator(_named_apart)]
