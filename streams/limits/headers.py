"""What the API says of its limits with every answer.

https://platform.claude.com/docs/en/api/rate-limits#response-headers
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streams.limits.rates import NO_LIMIT, Rates

PREFIX: Final = "anthropic-ratelimit-"
_NAMES: Final = ("requests", "input-tokens", "output-tokens")


@dataclass(frozen=True, slots=True)
class Seen:
    """Limits and what remained of them, `at_seconds` by the clock of the one who saw them."""

    limits: Rates
    remaining: Rates
    at_seconds: float

    @property
    def tells_a_limit(self) -> bool:
        return any(limit is not None and limit < NO_LIMIT for limit in self.limits)


def seen_in(headers: Mapping[str, str], at_seconds: float) -> Seen | None:
    """None where the headers say nothing of limits. Names are lower case."""
    # A limit of nothing is no limit that could ever be kept, so it is a mistake.
    limits = Rates(*(_number(headers.get(f"{PREFIX}{name}-limit")) or None for name in _NAMES))
    remaining = Rates(*(_number(headers.get(f"{PREFIX}{name}-remaining")) for name in _NAMES))
    return Seen(limits, remaining, at_seconds) if limits.limited or remaining.limited else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
