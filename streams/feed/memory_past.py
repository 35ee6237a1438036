"""`MemoryPast`: the Past contract over a list, for tests."""

from collections.abc import Sequence

from streams.feed.events import ResultEvent
from streams.feed.past import Held, Piece
from streams.feed.positions import Position, at


class MemoryPast:
    """The records of `partitions` partitions; what retention has taken is before `first`."""

    def __init__(self, partitions: int, at_most: int = 100) -> None:
        self.first = [0] * partitions
        self.end = [0] * partitions
        self._at_most = at_most
        self._events: list[ResultEvent] = []

    def add(self, events: Sequence[ResultEvent]) -> None:
        for event in events:
            self._events.append(event)
            self.end[event.partition] = event.offset + 1

    async def held(self) -> Held:
        """See Past."""
        return Held(tuple(self.first), tuple(self.end))

    async def read(self, tenant: str, position: Position, until: Position) -> Piece:
        """See Past."""
        found: list[ResultEvent] = []
        reached = list(position) + [0] * (len(until) - len(position))
        for event in self._events:
            if not at(reached, event.partition) <= event.offset < at(until, event.partition):
                continue
            if len(found) == self._at_most:
                return Piece(found, tuple(reached))
            reached[event.partition] = event.offset + 1
            if event.tenant == tenant:
                found.append(event)
        return Piece(found, until)
