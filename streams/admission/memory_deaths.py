"""The book of deaths in memory: for tests, and for workers of one process."""

from collections import Counter
from collections.abc import Mapping

from streams.admission.deaths import Place


class MemoryDeathBook:
    """A DeathBook."""

    def __init__(self) -> None:
        self._deaths: Counter[Place] = Counter()

    async def read(self) -> Mapping[Place, int]:
        return dict(self._deaths)

    async def write(self, place: Place) -> None:
        self._deaths[place] += 1
