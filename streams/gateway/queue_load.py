"""Whether there is room for more, from figures that others bring. Pure; it lives on one event loop."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from producers.gateway.load import Overload
from schemas.topics import Lane

_NEWEST_WEIGHT: Final = 0.3
_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 60.0
_UNKNOWN_SECONDS: Final = 10.0
_AWAY_SECONDS: Final = 2.0
_ROOM_AGAIN: Final = 0.9
"""Callers are told to come again when the queue is that much of its limit, so that not all are refused once more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests of a lane may wait, and which part of that one tenant may fill."""

    waiting: int = 10_000
    tenant_share: float = 0.8


@dataclass(frozen=True, slots=True)
class Backlog:
    """One lane as the broker has it: records that wait, and how many were ever done."""

    waiting: int
    done: int


@dataclass(slots=True)
class _Lane:
    backlog: Backlog = Backlog(0, 0)
    seen_at: float | None = None
    per_second: float | None = None
    """How fast it drains; None while that is not known."""
    added: int = 0
    """Taken in here since."""


class QueueLoad:
    """A Load. `now` is in seconds; until the broker was seen first it counts as away."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._lanes: dict[Lane, _Lane] = {"interactive": _Lane(), "bulk": _Lane()}
        self._tenants: Counter[tuple[str, Lane]] = Counter()
        self._added: Counter[tuple[str, Lane]] = Counter()
        self._broker_problem: str | None = "the broker was not reached yet"

    @property
    def broker_problem(self) -> str | None:
        """None while the broker answers."""
        return self._broker_problem

    def overload(self, tenant: str, lane: Lane) -> Overload | None:
        """See Load."""
        if self._broker_problem is not None:
            return Overload("broker_away", _AWAY_SECONDS)
        if (waiting := self.waiting(lane)) >= self._limits.waiting:
            return Overload("backlog", self._seconds_to(lane, waiting, self._limits.waiting))
        share = self._limits.waiting * self._limits.tenant_share
        # Of the whole lane no tenant can have more: most calls end here.
        if waiting >= share and (own := min(waiting, self._waiting_of(tenant, lane))) >= share:
            return Overload("tenant_backlog", self._seconds_to(lane, own, share))
        return None

    def note_accepted(self, tenant: str, lane: Lane, requests: int) -> None:
        """See Load."""
        self._lanes[lane].added += requests
        self._added[tenant, lane] += requests

    def note_broker_silent(self) -> None:
        """See Load."""
        self.note_broker_away("the broker does not confirm records")

    def note_broker_away(self, problem: str) -> None:
        """It cannot be asked, and `problem` says why."""
        self._broker_problem = problem

    def note_backlogs(self, backlogs: Mapping[Lane, Backlog]) -> None:
        """The broker was asked, so it is there."""
        self._broker_problem = None
        for lane, backlog in backlogs.items():
            self._note(self._lanes[lane], backlog)
        if not self.is_pressed():
            self._tenants.clear()
            self._added.clear()

    def note_tenants(self, waiting: Mapping[tuple[str, Lane], int]) -> None:
        """What waits of each tenant, as the store has it."""
        self._tenants = Counter(waiting)
        self._added.clear()

    def waiting(self, lane: Lane) -> int:
        """Requests that wait, those counted that came in here since the broker was asked."""
        state = self._lanes[lane]
        return state.backlog.waiting + state.added

    def is_pressed(self) -> bool:
        """Whether it matters whose requests they are."""
        return any(self.waiting(lane) >= self._limits.waiting * self._limits.tenant_share / 2 for lane in self._lanes)

    def _note(self, state: _Lane, backlog: Backlog) -> None:
        now = self._now()
        if state.seen_at is not None and now > state.seen_at:
            newest = max(0, backlog.done - state.backlog.done) / (now - state.seen_at)
            known = newest if state.per_second is None else state.per_second
            state.per_second = known + _NEWEST_WEIGHT * (newest - known)
        state.backlog, state.seen_at, state.added = backlog, now, 0

    def _waiting_of(self, tenant: str, lane: Lane) -> int:
        return self._tenants[tenant, lane] + self._added[tenant, lane]

    def _seconds_to(self, lane: Lane, waiting: int, limit: float) -> float:
        per_second = self._lanes[lane].per_second
        if not per_second:
            return _UNKNOWN_SECONDS
        return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, (waiting - _ROOM_AGAIN * limit) / per_second))
