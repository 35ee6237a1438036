"""Who calls: the port to the API keys, and what a key allows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NewType, Protocol

KeyId = NewType("KeyId", str)
"""The public part of a key; may be logged."""

Scope = Literal["submit", "read", "admin"]
SCOPES: Final[frozenset[Scope]] = frozenset({"submit", "read", "admin"})


@dataclass(frozen=True, slots=True)
class KeyQuotas:
    """What one key may use; None where nothing bounds it but the gateway's own limits."""

    requests_per_second: float | None = None
    burst: int | None = None
    requests_per_day: int | None = None
    bulk_jobs: int | None = None
    """Running at the same time."""
    bytes_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid key. The tenant comes from here and from nowhere else."""

    key_id: KeyId
    tenant: str
    scopes: frozenset[Scope]
    allowed_models: frozenset[str] | None = None
    """None: every model."""
    quotas: KeyQuotas = KeyQuotas()
    expires_at: datetime | None = None


class KeysUnavailableError(Exception):
    """The store of keys cannot be asked, and this key is not remembered: the caller is told to come again (503)."""


class KeyRing(Protocol):
    """Knows who a secret belongs to."""

    async def caller_of(self, secret: str) -> Caller | None:
        """The caller; None for a secret that is unknown, revoked or expired. Raises KeysUnavailableError."""
        ...
