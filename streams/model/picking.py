"""Which of several endpoints is asked next: the one where an answer is expected soonest. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

UNKNOWN_LATENCY_SECONDS: Final = 0.05
"""Of an endpoint that was not asked yet, or not for long: short, so that it is asked and known."""
_LEAST_SHARE: Final = 0.05
"""An endpoint at its limit counts as that much slower: twenty times, and not as gone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one endpoint at the moment of a call.

    `remaining_share` is what is left of its rate limits, of the scarcest one, between 0 and 1. One that does not `take`
    calls rests after a failure.
    """

    latency_seconds: float
    in_flight: int = 0
    weight: float = 1.0
    remaining_share: float = 1.0
    takes: bool = True


def pick(standings: Sequence[Standing]) -> int | None:
    """The place of the endpoint to ask; None where all rest. The first of equals."""
    taking = [place for place, standing in enumerate(standings) if standing.takes]
    most_left = max((standings[place].remaining_share for place in taking), default=0.0)
    return min(taking, key=lambda place: _expected_seconds(standings[place], most_left), default=None)


def _expected_seconds(standing: Standing, most_left: float) -> float:
    """The latency, once for each call under way there and for this one; more where others have more of their limit."""
    latency_seconds = max(standing.latency_seconds, UNKNOWN_LATENCY_SECONDS)
    # Relative to the others: a bucket that never holds more than a second's worth is no reason to stay away.
    share = standing.remaining_share / most_left if most_left > 0 else 1.0
    return latency_seconds * (standing.in_flight + 1) / (standing.weight * max(share, _LEAST_SHARE))
