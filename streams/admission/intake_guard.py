"""What keeps a worker from harm at the intake: records that kill, floods of unreadable ones, cancelled requests."""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from schemas.dead_letter import DecodeError
from schemas.record import Record
from streams.admission.admission import Work
from streams.admission.dead_letter_limit import DeadLetterLimit
from streams.admission.deaths import Place


class CancelledIds(Protocol):
    """Which requests were cancelled."""

    def is_cancelled(self, tenant: str, request_id: UUID) -> bool: ...


class DeadLetterFloodError(RuntimeError):
    """So many records are unreadable that the fault is not theirs: stop, rather than drain a topic into the bin."""


class NoCancelledIds:
    """Nothing is ever cancelled: where no control topic is followed."""

    def is_cancelled(self, tenant: str, request_id: UUID) -> bool:
        del tenant, request_id
        return False


class IntakeGuard:
    """`deaths` says at which records workers died before; from `condemned_after` on a record is set aside."""

    def __init__(
        self, cancelled: CancelledIds, limit: DeadLetterLimit, deaths: Mapping[Place, int], condemned_after: int = 3
    ) -> None:
        self._cancelled = cancelled
        self._limit = limit
        self._condemned_after = condemned_after
        self._condemned: set[Place] = set()
        self.learn(deaths)

    def learn(self, deaths: Mapping[Place, int]) -> None:
        """Take note of deaths, of which some may have been known."""
        self._condemned |= {place for place, count in deaths.items() if count >= self._condemned_after}

    def check(self, record: Record) -> None:
        """Raises DecodeError for a record that workers died at too often."""
        if self._condemned and Place.of(record) in self._condemned:
            raise DecodeError("crash_loop", "workers died at this record again and again; see the worker's log")

    def saw_readable(self, records: int) -> None:
        """Count records that could be read."""
        self._limit.feed_good(records)

    def saw_unreadable(self) -> None:
        """Count one record. Raises DeadLetterFloodError when so many are unreadable that something else is wrong."""
        if self._limit.feed(True):
            raise DeadLetterFloodError(self._limit.problem)

    def is_cancelled(self, work: Work) -> bool:
        return self._cancelled.is_cancelled(work.request.tenant, work.request.request_id)
