"""The newest results in memory, bounded in number and bytes: from here a stream that was cut goes on."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from streams.feed.events import ResultEvent
from streams.feed.positions import Position, at, reaches

MOST_EVENTS: Final = 20_000
MOST_BYTES: Final = 48 * 1024 * 1024


class Ring:
    """Events in the order they were read. `head` is the next offset of every partition, `floor` the first one held."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._bytes = 0
        self._events: deque[ResultEvent] = deque()
        self._by_tenant: dict[str, deque[ResultEvent]] = {}
        self._head: list[int] = []
        self._floor: list[int] = []

    @property
    def head(self) -> Position:
        return tuple(self._head)

    @property
    def floor(self) -> Position:
        return tuple(self._floor)

    def begin(self, starts: Sequence[int]) -> None:
        """Partitions that are not known yet begin at these offsets."""
        for number in range(len(self._head), len(starts)):
            self._head.append(starts[number])
            self._floor.append(starts[number])

    def add(self, event: ResultEvent) -> bool:
        """Keep it; False where it was there already."""
        self.begin((0,) * (event.partition + 1))
        if event.offset < self._head[event.partition]:
            return False
        self._head[event.partition] = event.offset + 1
        self._events.append(event)
        self._by_tenant.setdefault(event.tenant, deque()).append(event)
        self._bytes += event.size_bytes
        while len(self._events) > self._most_events or self._bytes > self._most_bytes:
            self._drop_oldest()
        return True

    def covers(self, position: Sequence[int]) -> bool:
        """Whether everything behind that position is held here or still to come."""
        return reaches(position, self._floor)

    def behind(self, tenant: str, position: Sequence[int]) -> list[ResultEvent]:
        """That tenant's events which are held and not before the position, in order."""
        held = self._by_tenant.get(tenant, ())
        return [event for event in held if event.offset >= at(position, event.partition)]

    def _drop_oldest(self) -> None:
        event = self._events.popleft()
        self._bytes -= event.size_bytes
        self._floor[event.partition] = event.offset + 1
        of_tenant = self._by_tenant[event.tenant]
        of_tenant.popleft()
        if not of_tenant:
            del self._by_tenant[event.tenant]
