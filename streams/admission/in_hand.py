"""Who reads a partition, and what a careful worker has in hand: what is left of a process that ended without a word."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from streams.admission.deaths import Place
from streams.offsets import Partition


@dataclass(frozen=True, slots=True)
class Left:
    """What those who read some partitions before left there."""

    unclean: frozenset[Partition] = frozenset()
    """Whose last reader never signed out: it died, or stands still."""
    in_hand: Mapping[Place, int] = field(default_factory=dict)
    """Records that were never crossed out, and how many its worker had in hand together with each, itself included."""


class Hands(Protocol):
    """Forgets when its server is away; then a record kills a few times more."""

    async def sign_in(self, reader: str, partitions: Iterable[Partition]) -> Left:
        """`reader` begins to read these; its own earlier entries are no uncleanness."""
        ...

    async def sign_out(self, partitions: Iterable[Partition]) -> None:
        """They are let go of in good order. What is in hand stays written down."""
        ...

    async def hold(self, places: Collection[Place], together: int) -> None:
        """Write down that these are in hand, so many together."""
        ...

    async def let_go(self, places: Collection[Place]) -> None:
        """Cross them out."""
        ...
