"""Weighted deficit round robin over tokens: who goes next when not all can. Pure."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

QUANTUM_TOKENS: Final = 100.0
"""What a tenant of weight 1 may use in one turn: less than a usual call, so that a turn is one call."""


class _Queued(NamedTuple, Generic[Item]):
    tokens: float
    item: Item


class FairQueue(Generic[Item]):
    """Each tenant in its own order; between tenants, tokens in proportion to their weights (1 where none is given)."""

    def __init__(self, weights: Mapping[str, float] | None = None, quantum_tokens: float = QUANTUM_TOKENS) -> None:
        self._weights = weights or {}
        self._quantum = quantum_tokens
        self._queued: dict[str, deque[_Queued[Item]]] = {}
        self._ring: deque[str] = deque()
        self._deficits: dict[str, float] = {}
        self._in_turn = False
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, tenant: str, tokens: float, item: Item) -> None:
        if tenant not in self._queued:
            self._queued[tenant] = deque()
            self._ring.append(tenant)
        self._queued[tenant].append(_Queued(tokens, item))
        self._size += 1

    def peek(self, most: int) -> list[Item]:
        """The next ones in order, taken by nobody yet."""
        ring, deficits, in_turn = self._ring.copy(), self._deficits.copy(), self._in_turn
        taken = [self._take() for _ in range(min(most, self._size))]
        self._ring, self._deficits, self._in_turn = ring, deficits, in_turn
        for tenant, queued in reversed(taken):
            self._queued.setdefault(tenant, deque()).appendleft(queued)
        self._size += len(taken)
        return [queued.item for _, queued in taken]

    def drop(self, count: int) -> None:
        """The first `count` of what `peek` showed are served."""
        for _ in range(count):
            self._take()
        if self._size == 0:
            self._deficits.clear()

    def charge(self, tenant: str, tokens: float) -> None:
        """What `tenant` used beyond what it was queued with; negative: it used less."""
        left = self._deficits.get(tenant, 0.0) - tokens
        if tenant not in self._queued:
            left = min(left, 0.0)
        if self._size:
            self._deficits[tenant] = left

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """Let go of all that is not wanted any more."""
        for tenant, queue in list(self._queued.items()):
            kept = deque(each for each in queue if wanted(each.item))
            self._size -= len(queue) - len(kept)
            self._queued[tenant] = kept
            if not kept:
                self._leave(tenant)

    def _take(self) -> tuple[str, _Queued[Item]]:
        passed = 0
        while True:
            tenant = self._ring[0]
            if not self._in_turn:
                self._deficits[tenant] = self._deficits.get(tenant, 0.0) + self._share(tenant)
                self._in_turn = True
            queue = self._queued[tenant]
            if self._deficits[tenant] >= queue[0].tokens:
                break
            self._ring.rotate(-1)
            self._in_turn = False
            passed += 1
            if passed == len(self._ring):
                self._skip_empty_rounds()
        queued = queue.popleft()
        self._deficits[tenant] -= queued.tokens
        self._size -= 1
        if not queue:
            self._leave(tenant)
        return tenant, queued

    def _skip_empty_rounds(self) -> None:
        """Rounds in which nobody could afford its next one, at once instead of one by one."""
        missing = (
            (self._queued[tenant][0].tokens - self._deficits[tenant]) / self._share(tenant) for tenant in self._ring
        )
        rounds = max(math.ceil(min(missing)) - 1, 0)
        for tenant in self._ring:
            self._deficits[tenant] += rounds * self._share(tenant)

    def _leave(self, tenant: str) -> None:
        if self._ring[0] == tenant:
            self._in_turn = False
        self._ring.remove(tenant)
        del self._queued[tenant]
        # A turn that was not used up is lost; what was used too much is remembered.
        self._deficits[tenant] = min(self._deficits.get(tenant, 0.0), 0.0)

    def _share(self, tenant: str) -> float:
        return self._quantum * self._weights.get(tenant, 1.0)
