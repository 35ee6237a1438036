"""Hands in memory: for tests, and for workers of one process."""

from collections.abc import Collection, Iterable

from streams.admission.deaths import Place
from streams.admission.in_hand import Left
from streams.offsets import Partition


class MemoryHands:
    """Hands."""

    def __init__(self) -> None:
        self._readers: dict[Partition, str] = {}
        self._in_hand: dict[Place, int] = {}

    async def sign_in(self, reader: str, partitions: Iterable[Partition]) -> Left:
        wanted = frozenset(partitions)
        unclean = frozenset(each for each in wanted if self._readers.get(each, reader) != reader)
        self._readers |= dict.fromkeys(wanted, reader)
        return Left(unclean, {place: count for place, count in self._in_hand.items() if place.where in wanted})

    async def sign_out(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._readers.pop(partition, None)

    async def hold(self, places: Collection[Place], together: int) -> None:
        self._in_hand |= dict.fromkeys(places, together)

    async def let_go(self, places: Collection[Place]) -> None:
        for place in places:
            self._in_hand.pop(place, None)
