"""Which model is asked for a request: the one it names, else one that the policy lets answer in its place.

Another model is asked only while the named one's breaker is open, or after the API has refused it (unknown, retired,
not allowed for our key). A rate limit, a pause of the account and a failed call are waited for as without a policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from streams.admission import Work

REFUSAL_MEMORY: Final = timedelta(minutes=5)
"""For so long a refused model is not asked where another may answer; then one call finds out."""

Reason = Literal["refused", "breaker"]


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """By model, those that may answer in its place, the best first. A tenant that is named has its own rules alone."""

    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by_tenant: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def candidates(self, tenant: str, model: str) -> tuple[str, ...]:
        """`model`, then its stand-ins."""
        return (model, *self.by_tenant.get(tenant, self.models).get(model, ()))


class StandIns:
    """The policy and what this worker has seen of the models. One per worker."""

    def __init__(self, policy: FallbackPolicy, is_broken: Callable[[str], bool], now: Callable[[], datetime]) -> None:
        self._policy = policy
        self._is_broken = is_broken
        self._now = now
        self._refused_until: dict[str, datetime] = {}

    def choose(self, work: Work) -> str:
        """The model to ask now: the first that can answer, else the first to wait for, else the one it names."""
        candidates = self._policy.candidates(work.request.tenant, work.model)
        if len(candidates) == 1:
            return work.model
        allowed = [model for model in candidates if not self._is_refused(model)]
        able = [model for model in allowed if not self._is_broken(model)]
        return (able or allowed or [work.model])[0]

    def note_refusal(self, work: Work, model: str) -> bool:
        """`model` was refused; whether another may be asked for `work`."""
        candidates = self._policy.candidates(work.request.tenant, work.model)
        if len(candidates) == 1:  # a model that no policy names is the caller's text: not to be remembered
            return False
        self._refused_until[model] = self._now() + REFUSAL_MEMORY
        return not all(self._is_refused(each) for each in candidates)

    def reason(self, work: Work) -> Reason:
        """Why the model that `work` names is not asked."""
        return "refused" if self._is_refused(work.model) else "breaker"

    def _is_refused(self, model: str) -> bool:
        until = self._refused_until.get(model)
        return until is not None and self._now() < until
