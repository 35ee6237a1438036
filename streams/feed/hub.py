"""Joins those who follow results with what the reader brings. No Kafka; lives on one event loop.

The rule of joining: a subscriber is a position, the next offset it wants of each partition. What the ring holds behind
it becomes its backlog and it is entered for what comes, in one step of the loop: nothing lies between, nothing comes
twice. A subscriber may be ahead of this copy, when another one served it before; what it has seen is passed over.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from producers.gateway.feed import Wanted
from producers.gateway.sse import frame
from schemas.result import PromptResult
from streams.feed.events import ResultEvent
from streams.feed.positions import EventIds, Position, at, furthest, reaches
from streams.feed.ring import Ring
from streams.feed.subscriber import Frames, Subscriber

MOST_QUEUED: Final = 1000
"""Events a subscriber may be behind with; then its stream ends, and goes on from its last event when it comes again."""

_Group = dict[Subscriber, None]


class Hub:
    """Who wants what. `ids` turn positions into event ids."""

    def __init__(self, ring: Ring, ids: EventIds, most_queued: int = MOST_QUEUED) -> None:
        self.ring = ring
        self._ids = ids
        self._most_queued = most_queued
        self._groups: dict[str, dict[Wanted, _Group]] = {}
        """Subscribers by tenant and by what they want: each question is asked once an event, not once a subscriber."""
        self._awaited: dict[tuple[str, str], list[asyncio.Future[PromptResult]]] = {}
        self._head_ids: tuple[Position, dict[str, str]] = ((), {})

    def __len__(self) -> int:
        return sum(len(group) for groups in self._groups.values() for group in groups.values())

    def take(self, events: Iterable[ResultEvent]) -> None:
        """What the reader has brought, in its order; what was there already is passed over."""
        for event in events:
            if not self.ring.add(event):
                continue
            futures = self._awaited.get((event.tenant, event.request_id))
            groups = self._groups.get(event.tenant)
            if (futures or groups) and (result := event.result()) is not None:
                for future in futures or ():
                    if not future.done():
                        future.set_result(result)
                if groups:
                    self._fan_out(event, result, groups)

    def join(self, tenant: str, wanted: Wanted, position: Position) -> Subscriber:
        """Follow from `position` on, which the ring must cover: await nothing between that question and this call."""
        held = self.ring.behind(tenant, position)
        backlog = Frames(position, held, wanted, tenant, self._ids)
        subscriber = Subscriber(tenant, wanted, furthest(position, self.ring.head), backlog)
        subscriber.is_ahead = not reaches(self.ring.head, position)
        self._groups.setdefault(tenant, {}).setdefault(wanted, {})[subscriber] = None
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Safe to repeat."""
        groups = self._groups.get(subscriber.tenant, {})
        group = groups.get(subscriber.wanted, {})
        group.pop(subscriber, None)
        if not group:
            groups.pop(subscriber.wanted, None)
        if not groups:
            self._groups.pop(subscriber.tenant, None)

    def close(self) -> None:
        """End every stream, each after what it has."""
        for groups in self._groups.values():
            for group in groups.values():
                for subscriber in group:
                    subscriber.close()

    def standing_id(self, subscriber: Subscriber) -> str:
        """The id of what a subscriber that was sent everything has seen."""
        if subscriber.is_ahead:
            return self._ids.encode(subscriber.tenant, furthest(subscriber.joined_at, self.ring.head))
        return self._head_id(subscriber.tenant)

    @contextmanager
    def awaiting(self, tenant: str, request_id: UUID) -> Iterator[asyncio.Future[PromptResult]]:
        """A future of that result, for as long as the block lasts."""
        key = (tenant, str(request_id))
        future: asyncio.Future[PromptResult] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            futures = self._awaited[key]
            futures.remove(future)
            if not futures:
                del self._awaited[key]

    def _head_id(self, tenant: str) -> str:
        """Where this copy stands; made once for all streams of a tenant."""
        head = self.ring.head
        if self._head_ids[0] != head:
            self._head_ids = (head, {})
        made = self._head_ids[1]
        if tenant not in made:
            made[tenant] = self._ids.encode(tenant, head)
        return made[tenant]

    def _fan_out(self, event: ResultEvent, result: PromptResult, groups: dict[Wanted, _Group]) -> None:
        framed: bytes | None = None
        slow: list[Subscriber] = []
        for wanted, group in groups.items():
            if not wanted.takes(result):
                continue
            if framed is None:
                framed = frame("result", event.data(result), self._head_id(event.tenant))
            for subscriber in group:
                if subscriber.is_ahead:
                    self._push_ahead(subscriber, event, result)
                else:
                    subscriber.push(framed, self._most_queued)
                if subscriber.is_too_slow:
                    slow.append(subscriber)
        for subscriber in slow:
            self.leave(subscriber)

    def _push_ahead(self, subscriber: Subscriber, event: ResultEvent, result: PromptResult) -> None:
        seen = subscriber.joined_at
        if event.offset >= at(seen, event.partition):
            event_id = self._ids.encode(subscriber.tenant, furthest(seen, self.ring.head))
            subscriber.push(frame("result", event.data(result), event_id), self._most_queued)
        subscriber.is_ahead = not reaches(self.ring.head, seen)
