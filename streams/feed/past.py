"""What the ring no longer holds: the port to older results, a bounded piece at a time."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streams.feed.events import ResultEvent
from streams.feed.positions import Position


class Held(NamedTuple):
    """What the topic holds: the first offset still there and the next one to come, by partition."""

    first: Position
    end: Position


class Piece(NamedTuple):
    """One tenant's events between two positions, in the order of each partition, and how far one has got with them."""

    events: Sequence[ResultEvent]
    reached: Position


class Past(Protocol):
    """Reads the results topic from any position, for few at a time."""

    async def held(self) -> Held:
        """Raises FeedUnavailableError."""
        ...

    async def read(self, tenant: str, position: Position, until: Position) -> Piece:
        """Some of the events from `position` to before `until`; `reached` is `until` when these were all.

        Raises FeedUnavailableError.
        """
        ...
