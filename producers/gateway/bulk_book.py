"""What is kept of bulk jobs: the ports to their book, to those who read it, and to the lines' results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol
from uuid import UUID

JobState = Literal["open", "sealed", "cancelled"]
"""Open: its upload goes on, or was cut and may go on. Sealed: every item has its verdict."""

LEASE_SECONDS: Final = 10.0
"""How long an upload that is not heard of keeps others under its key away."""


@dataclass(frozen=True, slots=True)
class Job:
    """One bulk job. Its first `items` items have a verdict, each is accepted or rejected."""

    job: UUID
    state: JobState
    items: int
    accepted: int
    rejected: int
    content: bytes
    """A digest of these items, as they came."""
    is_uploading: bool
    created_at: datetime
    sealed_at: datetime | None = None
    cancelled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A job whose upload goes on here. Whoever takes it over has a higher epoch."""

    job: Job
    tenant: str
    epoch: int
    is_new: bool


class RejectedItem(NamedTuple):
    """An item without a request. `line` is where it stood: in a JSON array the same as its number."""

    item: int
    line: int
    reason: str


class Progress(NamedTuple):
    """How far an upload has come; `rejections` are those since the last progress."""

    items: int
    accepted: int
    rejected: int
    content: bytes
    rejections: Sequence[RejectedItem] = ()
    sealed: bool = False


class Tally(NamedTuple):
    """Lines of a job that stand alike. `recent` were completed within the last RECENT_SECONDS."""

    status: str
    source: str | None
    error_code: str | None
    lines: int
    cost_usd: Decimal | None
    saved_usd: Decimal | None
    recent: int
    last_completed_at: datetime | None


RECENT_SECONDS: Final = 30


class JobBusyError(Exception):
    """An upload under this client key is going on; `retry_after_seconds` says when it is taken for dead."""

    def __init__(self, job: UUID, retry_after_seconds: float) -> None:
        super().__init__(str(job))
        self.job = job
        self.retry_after_seconds = retry_after_seconds


class JobsUnavailableError(Exception):
    """The store of jobs cannot be asked now; what was asked may have been done."""


class JobBook(Protocol):
    """Where uploads write down how far they are. Every method raises JobsUnavailableError."""

    async def begin(self, tenant: str, job: UUID, client_key: bytes | None) -> Held:
        """A new job, or the one of that key, held here if it is open. Raises JobBusyError."""
        ...

    async def advance(self, held: Held, progress: Progress | None) -> bool:
        """Write it down, or only that the upload lives; False when the job is not held here any more."""
        ...

    async def release(self, held: Held) -> None:
        """The upload was cut: another may go on at once."""
        ...


class JobShelf(Protocol):
    """A tenant's jobs. Every method raises JobsUnavailableError."""

    async def find(self, tenant: str, job: UUID) -> Job | None:
        """None for a job that is not there, or not this tenant's."""
        ...

    async def page(self, tenant: str, before: UUID | None, limit: int) -> Sequence[Job]:
        """The newest first, made before that one."""
        ...

    async def rejections(self, tenant: str, job: UUID, after_item: int, limit: int) -> Sequence[RejectedItem]:
        """In their order, behind that item."""
        ...


class JobEnds(Protocol):
    """Takes jobs back."""

    async def cancel(self, tenant: str, job: UUID) -> Job | None:
        """Take no more lines from now on; safe to repeat. None as in `find`. Raises JobsUnavailableError."""
        ...


class JobStore(JobBook, JobShelf, JobEnds, Protocol):
    """All that is kept of jobs, as one store has it."""


class JobLines(Protocol):
    """The lines of a job as the sinks have written them. Every method raises JobsUnavailableError."""

    async def tally(self, tenant: str, job: UUID) -> Sequence[Tally]:
        """One query over the range of the job's ids."""
        ...

    async def results(self, tenant: str, job: UUID, after: UUID | None, limit: int) -> Sequence[tuple[UUID, bytes]]:
        """Lines that have ended, in their order, each as JSON; behind that line."""
        ...


class NoLines:
    """Lines that no sink has written yet."""

    async def tally(self, tenant: str, job: UUID) -> Sequence[Tally]:
        """See JobLines."""
        del tenant, job
        return ()

    async def results(self, tenant: str, job: UUID, after: UUID | None, limit: int) -> Sequence[tuple[UUID, bytes]]:
        """See JobLines."""
        del tenant, job, after, limit
        return ()
