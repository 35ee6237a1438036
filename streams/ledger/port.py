"""The port of the ledger: one row per request key, claimed before a call and settled after it (invariant P).

A key is claimed by one worker at a time. The claim carries an epoch, raised by every claim: what a worker says under
an older epoch changes nothing but the record of its paid call. A claim lives as long as its owner's heartbeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, NewType, Protocol
from uuid import UUID

from schemas.result import ErrorDetail, Usage
from streams.ledger.budgets import Scope, Use

RequestKey = NewType("RequestKey", str)
"""Tenant, then fingerprint; a request that shares no answer adds its own id."""


class LedgerUnavailable(Exception):  # noqa: N818 - says what it is
    """The authority cannot be asked: no claim, so no call. What waits for it goes on when it is back."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that would like an answer under `key`.

    With `refresh`, only an answer this very request paid for will do. `retry_ambiguous` is the tenant's policy: whether
    a call that was sent without its answer being seen may be repeated, at most once more. One that is not `patient`
    is refused where it would have to wait for what calls under way have reserved of a budget.
    """

    key: RequestKey
    tenant: str
    request_id: UUID
    refresh: bool = False
    retry_ambiguous: bool = True
    department: str | None = None
    user_id: str | None = None
    patient: bool = True


class Claimed(NamedTuple):
    """Ours to call. `attempts` counts definite failures so far, `ambiguous` calls whose answer nobody saw."""

    epoch: int
    attempts: int
    ambiguous: int


class Known(NamedTuple):
    """Answered and fresh, or paid for by the one that asks: the bytes that were settled."""

    answer: bytes
    former: bool = False
    """A newer answer has taken its place: it is the asker's, who paid for it, and nobody else's any more."""


class Held(NamedTuple):
    """Another's, alive: wait for its answer, ask again."""

    owner: str


class Unknown(NamedTuple):
    """Sent, no answer seen, and no further call allowed: the request ends as failed, `outcome_unknown`."""

    ambiguous: int


class Ended(NamedTuple):
    """The same request ended without an answer before: the same error again."""

    error: ErrorDetail
    attempts: int


class Refused(NamedTuple):
    """Nothing is left of a budget of the asker: the request ends here, and so again when it is delivered again."""

    scope: Scope
    use: Use


class Crowded(NamedTuple):
    """Calls under way have reserved what is left of a budget of the asker: ask again."""


Verdict = Claimed | Known | Held | Unknown | Ended | Refused | Crowded


@dataclass(frozen=True, slots=True)
class Sending:
    """One call about to be sent under a claim; `reserved_usd` is what it may cost at most, as far as known.

    It is reserved of the budgets of tenant, department and user until the call is settled.
    """

    key: RequestKey
    epoch: int
    call_id: UUID
    request_id: UUID
    tenant: str
    model: str
    reserved_usd: Decimal | None = None
    department: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claim ended.

    `answered`: paid; `answer` is kept until `expires_at`. `released`: not paid, another may call at once; `attempts`
    counts the definite failures. `ended`: not paid, the request ends with `error`. `unknown`: sent, no answer seen.
    `call_id` is None when nothing was sent.
    """

    key: RequestKey
    epoch: int
    request_id: UUID
    outcome: Literal["answered", "released", "ended", "unknown"]
    call_id: UUID | None = None
    answer: bytes | None = None
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    expires_at: datetime | None = None
    attempts: int = 0
    error: ErrorDetail | None = None


class Ledger(Protocol):
    """Every call takes many, since one round trip serves hundreds. Each raises LedgerUnavailable."""

    async def claim(self, wishes: Sequence[Wish]) -> list[Verdict]:
        """A verdict per wish, in their order. Of several wishes for one key at most one is Claimed."""
        ...

    async def mark_sent(self, sendings: Sequence[Sending]) -> list[bool]:
        """Record each call before it is made; False: the claim is no longer ours, do not call.

        Where a budget is full the claim is given back in place of being marked: ask again to hear why.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record how each ended; False: fenced, only the paid call was recorded. Safe to repeat."""
        ...
