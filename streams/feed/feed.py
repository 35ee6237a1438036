"""`LiveFeed`: one gateway copy's results for those who wait for one and those who follow them all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from producers.gateway.feed import (
    FeedUnavailableError,
    InvalidPositionError,
    PositionGoneError,
    Wanted,
)
from producers.gateway.sse import HEARTBEAT_SECONDS, frame, heartbeat, opening
from producers.gateway.waiting import Expected
from schemas.result import PromptResult
from streams.feed.hub import Hub
from streams.feed.past import Past, Piece
from streams.feed.positions import EventIds, Position, furthest, reaches
from streams.feed.subscriber import Frames, Subscriber

MOST_SUBSCRIBERS: Final = 4000
"""On one copy."""
MOST_OF_A_TENANT: Final = 2500
"""So that no tenant takes every place."""


class LiveFeed:
    """A ResultFeed and a ResultWaiter over one hub; `past` reads what the hub's ring no longer holds."""

    def __init__(self, hub: Hub, ids: EventIds, past: Past, most_subscribers: int = MOST_SUBSCRIBERS) -> None:
        self._hub = hub
        self._ids = ids
        self._past = past
        self._most_subscribers = most_subscribers
        self._open: Counter[str] = Counter()

    @property
    def subscribers(self) -> int:
        """Streams that are open."""
        return self._open.total()

    @contextmanager
    def expecting(self, tenant: str, request_id: UUID) -> Iterator[Expected]:
        """See ResultWaiter."""
        with self._hub.awaiting(tenant, request_id) as future:
            yield _Listening(future)

    async def subscribe(self, tenant: str, wanted: Wanted, last_event_id: str | None) -> AsyncIterator[bytes]:
        """See ResultFeed."""
        is_full = self.subscribers >= self._most_subscribers or self._open[tenant] >= MOST_OF_A_TENANT
        if is_full or not self._hub.ring.head:
            raise FeedUnavailableError
        if last_event_id is None:
            position = self._hub.ring.head
        else:
            position = self._ids.decode(tenant, last_event_id)
            await self._check(position)
        return self._stream(tenant, wanted, position)

    async def _check(self, position: Position) -> None:
        """Whether the topic can still be read from there."""
        ring = self._hub.ring
        if ring.covers(position) and reaches(ring.head, position):
            return
        held = await self._past.held()
        if not reaches(held.end, position):
            raise InvalidPositionError
        if not reaches(position, held.first):
            raise PositionGoneError

    async def _stream(self, tenant: str, wanted: Wanted, position: Position) -> AsyncIterator[bytes]:
        self._open[tenant] += 1
        try:
            yield opening(self._ids.encode(tenant, position))
            while not self._hub.ring.covers(position):
                piece = await self._older(tenant, position)
                older = Frames(position, piece.events, wanted, tenant, self._ids)
                while older.left:
                    yield older.taken() or heartbeat()
                position = furthest(position, piece.reached)
            subscriber = self._hub.join(tenant, wanted, position)
            try:
                async for framed in self._follow(subscriber):
                    yield framed
            finally:
                self._hub.leave(subscriber)
        except FeedUnavailableError:
            yield _come_again("unavailable")
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]

    async def _older(self, tenant: str, position: Position) -> Piece:
        piece = await self._past.read(tenant, position, furthest(position, self._hub.ring.head))
        if piece.reached == position:  # the broker gave nothing in its time
            raise FeedUnavailableError
        return piece

    async def _follow(self, subscriber: Subscriber) -> AsyncIterator[bytes]:
        while not (subscriber.is_ending and subscriber.is_empty):
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await subscriber.something()
            except TimeoutError:
                yield heartbeat(self._hub.standing_id(subscriber))
                continue
            if framed := subscriber.taken():
                yield framed
        yield _come_again("slow" if subscriber.is_too_slow else "closing")


class _Listening:
    def __init__(self, future: asyncio.Future[PromptResult]) -> None:
        self._future = future

    async def result(self, within_seconds: float) -> PromptResult | None:
        done, _ = await asyncio.wait({self._future}, timeout=within_seconds)
        return self._future.result() if done else None


def _come_again(reason: str) -> bytes:
    """Tells the client to come again with the id of the last event it had: nothing is lost."""
    return frame("resume", b'{"reason":"%s","next":"connect again with Last-Event-ID"}' % reason.encode())
