"""Where calls are counted: all counts of a call at once, or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.quotas.rules import Bucket, JobPlaces, Level


class CountersUnavailableError(Exception):
    """The shared counters cannot be asked."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The buckets' levels, in their order; nothing was taken where one of them refused."""

    levels: tuple[Level, ...]
    gateways: int = 1
    """How many share these counters."""


class Counters(Protocol):
    """Counts calls. Every method raises CountersUnavailableError."""

    async def take(self, buckets: Sequence[Bucket]) -> Counted:
        """Take each bucket's cost, or nothing where one of them has not enough."""
        ...

    async def take_place(self, places: Sequence[JobPlaces], job: str) -> JobPlaces | None:
        """Take a place of each, or none; the one that has none left. A job that has its places keeps them."""
        ...

    async def give_place(self, places: Sequence[JobPlaces], job: str) -> None:
        """Give them back."""
        ...
