"""How asking for an answer can end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from schemas.result import ErrorDetail
from streams.cache.stored_answer import CacheEntry

TOO_LATE: Final = ErrorDetail(code="deadline_passed", message="the deadline passed before there was an answer")


@dataclass(frozen=True, slots=True)
class Paid:
    """An answer that is in the ledger; `source` says whether this flight called for it.

    A `former` one is for the request that paid for it alone: a newer one has taken its place.
    """

    entry: CacheEntry
    source: Literal["model", "ledger"]
    former: bool = False


class NotAnswered(Exception):  # noqa: N818 - says what happened
    """The request ends without an answer."""

    def __init__(self, error: ErrorDetail, attempts: int, status: Literal["failed", "expired"] = "failed") -> None:
        super().__init__(error.code)
        self.error = error
        self.attempts = attempts
        self.status: Literal["failed", "expired"] = status


class FleetOutcomeUnknown(NotAnswered):
    """Calls under a key that many devices share came to an unknown end; each may go on under keys of its own."""


class Deferred(Exception):  # noqa: N818 - says what happens next
    """Definitely not answered and not paid; to be asked again at `due_at`, by way of the retry topic."""

    def __init__(self, code: str, attempts: int, due_at: datetime) -> None:
        super().__init__(code)
        self.code = code
        self.attempts = attempts
        self.due_at = due_at


class Withdrawn(Exception):  # noqa: N818 - says what happened
    """Cancelled before anything was sent."""
