"""Addresses that show one wrong key after the other: told to wait before anything else is done for them."""

from collections import OrderedDict
from typing import Final

from producers.gateway.intake_rules import Ticks

_REMEMBERED: Final = 10_000


class RefusedKeys:
    """Counts answers 401 per address, in this process alone: a bound on work, no secret depends on it."""

    def __init__(self, per_second: float, burst: int, ticks: Ticks) -> None:
        self._gap_seconds = 1 / per_second
        self._burst_seconds = burst / per_second
        self._ticks = ticks
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> None:
        """One more."""
        full_at = max(self._full_at.pop(address, 0.0), self._ticks()) + self._gap_seconds
        self._full_at[address] = full_at
        if len(self._full_at) > _REMEMBERED:
            self._full_at.popitem(last=False)

    def wait_seconds(self, address: str) -> float:
        """How long this address has to wait; 0 where it need not."""
        full_at = self._full_at.get(address)
        return 0.0 if full_at is None else max(0.0, full_at - self._ticks() - self._burst_seconds)
