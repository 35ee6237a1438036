"""What a template is, and how its variables become a prompt."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template as Substitution

from schemas.canonical import canonical_requirements
from schemas.distinctive import is_distinctive, occurs_in


class TemplateError(ValueError):
    """The request names no template of ours, or its variables do not fit; `code` is stable, the message says which."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """What the model is asked."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with holes. A change of words is a new version: answers are stored under `reference`.

    `identity` names the variables that tell one device of a fleet from another without changing what is asked;
    a value that `vocabulary` matches whole could be a word of the answer itself, and is not exchanged. `canonical`
    names those whose wording may differ without changing what is asked. `validator` names the check of its answers.
    """

    name: str
    version: int
    system: str
    user: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    identity: frozenset[str] = frozenset()
    vocabulary: re.Pattern[str] | None = None
    canonical: frozenset[str] = frozenset()
    validator: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def fixed_start(self) -> str:
        """What `user` says before its first hole: the same in every prompt."""
        return self.user.split("$", 1)[0]

    def check(self, variables: Mapping[str, str]) -> None:
        """Whether these variables fit. Raises TemplateError."""
        if missing := sorted(self.required - {name for name, value in variables.items() if value.strip()}):
            raise TemplateError("missing_variable", f"{self.reference} needs {', '.join(missing)}")
        if unknown := sorted(variables.keys() - self.required - self.optional):
            known = ", ".join(sorted(self.required | self.optional))
            raise TemplateError("unknown_variable", f"{self.reference} takes {known}; {len(unknown)} other given")

    def exchangeable(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The identity variables whose value another's may take the place of in an answer, in the order of names."""
        return {name: variables[name] for name in sorted(self.identity) if self._is_exchangeable(name, variables)}

    def canonical_variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables, those that may be worded differently in their one form."""
        return {
            name: canonical_requirements(value) if name in self.canonical else value
            for name, value in variables.items()
        }

    def _is_exchangeable(self, name: str, variables: Mapping[str, str]) -> bool:
        value = variables.get(name, "")
        others = [other for key, other in variables.items() if key != name]
        return (
            is_distinctive(value)
            and not (self.vocabulary is not None and self.vocabulary.fullmatch(value))
            and not occurs_in(value, [*others, self.system, self.user])
        )

    def render(self, variables: Mapping[str, str]) -> RenderedPrompt:
        """Fill the holes; values are never themselves substituted. Raises TemplateError."""
        self.check(variables)
        values = dict.fromkeys(self.optional, "none") | dict(variables)
        return RenderedPrompt(self.system, Substitution(self.user).substitute(values))
