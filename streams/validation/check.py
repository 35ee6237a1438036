"""Which check belongs to a request, and what it finds."""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from schemas.request import PromptRequest
from schemas.result import Answer
from schemas.templates import TEMPLATES
from schemas.validation import MOST_PROBLEMS, Validation
from streams.validation import network_config


class Check(Protocol):
    """What is wrong with an answer to these variables; nothing, where it will do."""

    def __call__(self, variables: Mapping[str, str], text: str) -> list[str]: ...


class Validator(NamedTuple):
    """A check by name; its version is raised with its rules, so that answers kept meanwhile are checked again."""

    name: str
    version: int
    check: Check

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


_VALIDATORS: Final = {
    validator.name: validator
    for validator in (Validator("network-config", network_config.VERSION, network_config.problems),)
}


def validator_of(request: PromptRequest) -> Validator | None:
    """The one its template names."""
    template = TEMPLATES.get(request.template or "")
    return None if template is None or template.validator is None else _VALIDATORS[template.validator]


def checked(request: PromptRequest, answer: Answer) -> Validation | None:
    """What its template's check finds in an answer to `request`; None where there is no check."""
    validator = validator_of(request)
    if validator is None:
        return None
    problems = validator.check(request.variables, answer.text)
    if answer.stop_reason == "max_tokens":
        problems = ["the answer is cut off at max_tokens", *problems]
    told = [problem[:200] for problem in problems[:MOST_PROBLEMS]]
    return Validation(validator=validator.name, version=validator.version, valid=not problems, problems=told)


def passed(request: PromptRequest) -> Validation | None:
    """The finding of today's check on an answer that is served from a store: others are not."""
    validator = validator_of(request)
    return None if validator is None else Validation(validator=validator.name, version=validator.version, valid=True)
