"""What a template is, and how its variables become a prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template as Substitution


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

    `identity` names the variables that tell one device of a fleet from another without changing what is asked.
    """

    name: str
    version: int
    system: str
    user: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    identity: frozenset[str] = frozenset()

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    def check(self, variables: Mapping[str, str]) -> None:
        """Whether these variables fit. Raises TemplateError."""
        if missing := sorted(self.required - {name for name, value in variables.items() if value.strip()}):
            raise TemplateError("missing_variable", f"{self.reference} needs {', '.join(missing)}")
        if unknown := sorted(variables.keys() - self.required - self.optional):
            known = ", ".join(sorted(self.required | self.optional))
            raise TemplateError("unknown_variable", f"{self.reference} takes {known}; {len(unknown)} other given")

    def render(self, variables: Mapping[str, str]) -> RenderedPrompt:
        """Fill the holes; values are never themselves substituted. Raises TemplateError."""
        self.check(variables)
        values = dict.fromkeys(self.optional, "none") | dict(variables)
        return RenderedPrompt(self.system, Substitution(self.user).substitute(values))
