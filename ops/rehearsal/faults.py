"""Which scripted fault, if any, hits a call."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ops.rehearsal.settings import FaultMatch, FaultRule


@dataclass(slots=True)
class _ArmedRule:
    rule: FaultRule
    pattern: re.Pattern[str] | None
    seen: int = 0
    fired: int = 0

    def fits(self, model: str, prompt: str, request_id: str) -> bool:
        match = self.rule.match
        if isinstance(match, str):
            return match in model or match in prompt
        return (
            (match.model is None or match.model in model)
            and (match.prompt_contains is None or match.prompt_contains in prompt)
            and (self.pattern is None or self.pattern.search(request_id) is not None)
        )

    def fires(self) -> bool:
        """Hits are spread so that after n calls exactly `share` of them, rounded down, were hit."""
        self.seen += 1
        if self.rule.count is not None and self.fired >= self.rule.count:
            return False
        due = int(self.seen * self.rule.share + 1e-9) > int((self.seen - 1) * self.rule.share + 1e-9)
        self.fired += due
        return due


@dataclass(slots=True)
class FaultScript:
    """The rules in order; the first that fits and fires decides. Counters start anew with each new script."""

    _armed: list[_ArmedRule] = field(default_factory=list)

    @classmethod
    def of(cls, rules: Iterable[FaultRule]) -> "FaultScript":
        """Raises ValueError where a request_id pattern is no regular expression."""
        return cls([_ArmedRule(rule, _pattern(rule)) for rule in rules])

    def next_fault(self, model: str, prompt: str, request_id: str) -> FaultRule | None:
        for armed in self._armed:
            if armed.fits(model, prompt, request_id) and armed.fires():
                return armed.rule
        return None


def _pattern(rule: FaultRule) -> re.Pattern[str] | None:
    if not isinstance(rule.match, FaultMatch) or rule.match.request_id is None:
        return None
    try:
        return re.compile(rule.match.request_id)
    except re.error as error:
        raise ValueError(f"match.request_id is no regular expression: {error}") from None
