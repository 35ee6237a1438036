"""What is known of requests: the port to the store that the sinks write, and what it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

CallState = Literal["sent", "answered", "late", "ambiguous", "not_paid"]
LiveStatus = Literal["pending", "processing", "retrying", "completed", "failed", "rejected", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """One request as the store has it; the fields stand in the order in which they are read."""

    request_id: UUID
    tenant: str
    department: str | None
    user_id: str | None
    application: str | None
    labels: Mapping[str, str]
    template: str | None
    lane: str | None
    status: str
    accepted_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    queue_ms: int | None = None
    model_ms: int | None = None
    source: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Decimal | None = None
    saved_usd: Decimal | None = None
    attempts: int | None = None
    paid_by: UUID | None = None
    error_code: str | None = None
    error_message: str | None = None
    answer: str | None = None
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of the model that one request has caused so far."""

    count: int = 0
    last: CallState | None = None
    last_sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of one id; `stored` is None while no sink has written it, or for ever."""

    stored: StoredRequest | None
    calls: Calls


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the next one begins behind it."""

    accepted_at: datetime
    request_id: UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests a list holds: the newest first, None or empty where it does not matter."""

    tenant: str
    limit: int
    user_id: str | None = None
    department: str | None = None
    device: str | None = None
    status: LiveStatus | None = None
    since: datetime | None = None
    labels: Mapping[str, str] | None = None
    after: Place | None = None


class LookupUnavailableError(Exception):
    """The store cannot be asked now; the caller is told to come again (503)."""


class RequestLookup(Protocol):
    """Reads what the sinks wrote. Both raise LookupUnavailableError."""

    async def find(self, tenant: str, request_id: UUID) -> Known:
        """One request of that tenant."""
        ...

    async def page(self, wanted: Wanted) -> Sequence[Known]:
        """At most `wanted.limit` requests, each with `stored`."""
        ...
