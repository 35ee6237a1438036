"""Rates by dimension, and which of two sources counts."""

from dataclasses import dataclass
from typing import Final, NamedTuple

NO_LIMIT: Final = 100_000_000.0
"""Per minute. A limit from here on is none: nobody reaches it."""

DIMENSIONS: Final = ("requests", "input_tokens", "output_tokens")


class Rates(NamedTuple):
    """Per minute; None where nothing is known to limit."""

    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None

    @property
    def limited(self) -> bool:
        return any(rate is not None for rate in self)


class Amounts(NamedTuple):
    """What a call takes, or what is put right afterwards (negative: given back)."""

    requests: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


UNKNOWN: Final = Rates()
NOTHING: Final = Amounts()


@dataclass(frozen=True, slots=True)
class Configured:
    """What was configured for one family. A cap holds although the API allows more; a preset gives way to the API."""

    rates: Rates = UNKNOWN
    caps: bool = False

    def corrected(self, told: Rates) -> Rates:
        """The rates that count, given what the API has told."""
        return Rates(*(self._corrected(mine, theirs) for mine, theirs in zip(self.rates, told, strict=True)))

    def _corrected(self, mine: float | None, theirs: float | None) -> float | None:
        if theirs is None:
            return mine
        if mine is not None and self.caps:
            return min(mine, theirs)
        return theirs if theirs < NO_LIMIT else None
