"""Who calls: the port to the API keys, and what a key allows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NewType, Protocol

KeyId = NewType("KeyId", str)
"""The public part of a key; may be logged."""

Scope = Literal["submit", "read", "admin"]
SCOPES: Final[frozenset[Scope]] = frozenset({"submit", "read", "admin"})
_MOST_PER_SECOND: Final = 1_000_000
_MOST: Final = 10**15
"""Redis counts in doubles: exact up to here and beyond."""


@dataclass(frozen=True, slots=True)
class KeyQuotas:
    """What one key may use; None where nothing bounds it but the gateway's own limits."""

    requests_per_second: float | None = None
    burst: int | None = None
    requests_per_day: int | None = None
    bulk_jobs: int | None = None
    """Running at the same time."""
    bytes_per_day: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what no quota can be."""
        if self.requests_per_second is not None and not 0 < self.requests_per_second <= _MOST_PER_SECOND:
            raise ValueError(f"requests_per_second is above 0 and at most {_MOST_PER_SECOND}")
        if self.burst is not None and not 1 <= self.burst <= _MOST_PER_SECOND:
            raise ValueError(f"burst is 1 to {_MOST_PER_SECOND}")
        for name in ("requests_per_day", "bulk_jobs", "bytes_per_day"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= _MOST:
                raise ValueError(f"{name} is 0 to {_MOST}")


NONE_OF_ITS_OWN: Final = KeyQuotas()


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid key. The tenant comes from here and from nowhere else."""

    key_id: KeyId
    tenant: str
    scopes: frozenset[Scope]
    allowed_models: frozenset[str] | None = None
    """None: every model."""
    quotas: KeyQuotas = NONE_OF_ITS_OWN
    expires_at: datetime | None = None


class KeysUnavailableError(Exception):
    """The store of keys cannot be asked, and this key is not remembered: the caller is told to come again (503)."""


class KeyRing(Protocol):
    """Knows who a secret belongs to."""

    async def caller_of(self, secret: str) -> Caller | None:
        """The caller; None for a secret that is unknown, revoked or expired. Raises KeysUnavailableError."""
        ...
