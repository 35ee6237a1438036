"""The port to the buckets of one account, one visit per round trip, and the rules all adapters follow.

A bucket is kept by the generic cell rate algorithm: one moment per dimension, `full_at`, at which everything granted
will have been earned back. A call may go from `burst_seconds` before that moment; it moves the moment on by what it
takes. A call that takes much is not held for longer than a small one, it leaves the debt to those after it: so no
stream of small calls can keep a large one waiting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from streams.limits.headers import Seen
from streams.limits.rates import NOTHING, UNKNOWN, Amounts, Configured, Rates

BULK_SHARE: Final = 0.1
"""Of the tokens, while interactive work wants them all."""
MAX_CREDIT_TOKENS: Final = 100_000.0
"""What bulk work can save up of its share."""
TURN_SECONDS: Final = 0.07
"""How much of a limit one visit takes while other workers wait, at least one call."""
LANE_MEMORY_SECONDS: Final = 0.5
"""How long a lane, or a worker, that was sent away counts as waiting."""
CLOCK_GRAIN_SECONDS: Final = 0.000_002
"""Moments closer than this are one: they are sums of rounded ones."""
WORKER_MEMORY_SECONDS: Final = 15.0
"""How long a worker that was not seen counts as alive."""


class BucketsUnavailable(Exception):  # noqa: N818 - says what is the case
    """The shared buckets cannot be reached; what was asked may have been taken."""


@dataclass(frozen=True, slots=True)
class BucketRules:
    """How the buckets of one account are kept."""

    configured: Callable[[str], Configured]
    """By model family."""
    burst_seconds: float = 1.0
    """How much unused time counts later; an API that enforces 60 per minute as 1 per second forgives little."""
    ahead_seconds: float = 0.1
    """Calls are granted that long before they may go, so that a slow round trip leaves no gap."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one worker wants of one family's buckets. Each list is served from its start as far as there is room."""

    family: str
    interactive: Sequence[Amounts] = ()
    bulk: Sequence[Amounts] = ()
    corrections: Amounts = NOTHING
    seen: Seen | None = None
    seen_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """For each call that may go, in seconds from now; and what the buckets know."""

    interactive: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    wait_seconds: float = 0.0
    """Before it is worth coming again for the rest."""
    reason: str = "none"
    """The dimension that held the rest back, `turn` of another worker or `lane`."""
    rates: Rates = UNKNOWN
    workers: int = 1


class Buckets(Protocol):
    """Shared by all that use the account. Takes are atomic over the dimensions."""

    async def visit(self, visit: Visit) -> Taken:
        """Put right, learn, then take. Raises BucketsUnavailable."""
        ...
