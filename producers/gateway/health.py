"""Whether this copy can do its work, and what is missing: for balancers, orchestrators and people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Check = Callable[[], str | None]
"""None when well, else what is wrong and what to do. Answers at once, from what was found a moment ago."""


@dataclass(frozen=True, slots=True)
class Health:
    """Checks by the name of what they check. Without a `needed` one nothing can be accepted."""

    needed: Mapping[str, Check]
    wanted: Mapping[str, Check]
    """Without one of these a part of the work goes on."""

    def missing(self) -> dict[str, str]:
        """What stands in the way of accepting requests."""
        return _found(self.needed)

    def degraded(self) -> dict[str, str]:
        """What is away while requests are still accepted."""
        return _found(self.wanted)


def _found(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := check()) is not None}
