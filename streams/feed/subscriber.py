"""One stream: what it still has to be sent, and from where it goes on when it is cut."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from producers.gateway.feed import Wanted
from producers.gateway.sse import frame
from streams.feed.events import ResultEvent
from streams.feed.positions import EventIds, Position

PIECE_EVENTS: Final = 200
"""Events of the past that are made into frames at a time."""


class Subscriber:
    """Frames that came since it joined, behind the events that the ring held for it then."""

    def __init__(self, tenant: str, wanted: Wanted, joined_at: Position, backlog: "Frames") -> None:
        self.tenant = tenant
        self.wanted = wanted
        self.joined_at = joined_at
        """All it has seen once its backlog is sent; this copy may not have come as far."""
        self.is_ahead = False
        self.is_too_slow = False
        self.is_closed = False
        self._backlog = backlog
        self._frames: deque[bytes] = deque()
        self._something = asyncio.Event()
        if backlog.left:
            self._something.set()

    def push(self, framed: bytes, most: int) -> None:
        """One more frame; with no room for it the subscriber is too slow."""
        if len(self._frames) >= most:
            self.is_too_slow = True
        else:
            self._frames.append(framed)
        self._something.set()

    def close(self) -> None:
        """End it after what it has: the gateway goes down."""
        self.is_closed = True
        self._something.set()

    def taken(self) -> bytes:
        """The next frames as one piece: some of the backlog, then all that came since."""
        if self._backlog.left:
            return self._backlog.taken()
        framed = b"".join(self._frames)
        self._frames.clear()
        if not self.is_ending:
            self._something.clear()
        return framed

    @property
    def is_ending(self) -> bool:
        """Whether nothing comes after what it has."""
        return self.is_too_slow or self.is_closed

    @property
    def is_empty(self) -> bool:
        return not self._frames and not self._backlog.left

    async def something(self) -> None:
        """Return when there is something to send, or the end."""
        await self._something.wait()


class Frames:
    """Events behind a position as frames, made when they are sent, each with the id of what was seen with it."""

    def __init__(
        self, position: Sequence[int], events: Iterable[ResultEvent], wanted: Wanted, tenant: str, ids: EventIds
    ) -> None:
        self._seen = list(position)
        self._events = deque(events)
        self._wanted = wanted
        self._tenant = tenant
        self._ids = ids

    @property
    def left(self) -> int:
        """Events that are still to be looked at."""
        return len(self._events)

    def taken(self) -> bytes:
        """Some frames as one piece; nothing where none of the events looked at is wanted."""
        framed: list[bytes] = []
        while self._events and len(framed) < PIECE_EVENTS:
            event = self._events.popleft()
            self._seen.extend([0] * (event.partition + 1 - len(self._seen)))
            if event.offset < self._seen[event.partition]:
                continue
            self._seen[event.partition] = event.offset + 1
            result = event.result()
            if result is not None and self._wanted.takes(result):
                framed.append(frame("result", event.data(result), self._ids.encode(self._tenant, self._seen)))
        return b"".join(framed)
