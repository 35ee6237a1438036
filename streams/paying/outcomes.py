"""How asking for an answer can end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from schemas.request import PromptRequest
from schemas.result import ErrorDetail
from streams.admission import Work
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.ledger.budgets import Scope

TOO_LATE: Final = ErrorDetail(code="deadline_passed", message="the deadline passed before there was an answer")


@dataclass(frozen=True, slots=True)
class Paid:
    """An answer that is in the ledger; `source` says whether this flight called for it.

    A `former` one is for the request that paid for it alone: a newer one has taken its place. `bought` is the same
    answer unpacked, for the one who has just paid for it.
    """

    entry: CacheEntry
    source: Literal["model", "ledger"]
    former: bool = False
    bought: StoredAnswer | None = None


class NotAnswered(Exception):  # noqa: N818 - says what happened
    """The request ends without an answer."""

    def __init__(
        self, error: ErrorDetail, attempts: int, status: Literal["failed", "expired", "rejected"] = "failed"
    ) -> None:
        super().__init__(error.code)
        self.error = error
        self.attempts = attempts
        self.status: Literal["failed", "expired", "rejected"] = status


class OverBudget(NotAnswered):
    """Refused for a budget of the one who led; others who waited for the same answer may have budgets of their own."""

    def __init__(self, error: ErrorDetail, work: Work, scope: Scope) -> None:
        super().__init__(error, work.attempts, "rejected")
        self.refused = work.request
        self._scope = scope

    def is_shared_by(self, request: PromptRequest) -> bool:
        """Whether that budget is one of this request's, too. Both are of one tenant: their keys are equal."""
        match self._scope:
            case "tenant":
                return True
            case "department":
                return request.department == self.refused.department
            case "user":
                return request.user_id == self.refused.user_id


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
