"""What a check of an answer has found; part of the result it was made for."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

MOST_PROBLEMS: Final = 5

Problem = Annotated[str, Field(max_length=200)]


class Validation(BaseModel):
    """Which check an answer went through, and what was wrong with it; the first problems alone are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validator: str
    version: Annotated[int, Field(ge=1)]
    valid: bool
    problems: Annotated[list[Problem], Field(max_length=MOST_PROBLEMS)] = []
