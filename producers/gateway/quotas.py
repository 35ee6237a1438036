"""How much a caller may do: the port to the quotas, asked before anything is published."""

from dataclasses import dataclass
from typing import Protocol

from producers.gateway.callers import Caller


@dataclass(frozen=True, slots=True)
class QuotaAsk:
    """What a call is about to use: always one call, and so many LLM requests and bytes of body.

    Rates count calls, days count `requests` and `bytes`. Reading uses no requests: `requests=0`.
    """

    caller: Caller
    requests: int
    bytes: int
    user: str | None
    address: str


@dataclass(frozen=True, slots=True)
class QuotaVerdict:
    """Whether it may go on, and what the `RateLimit` headers say. `retry_after_seconds` is 0 where it may."""

    allowed: bool
    retry_after_seconds: float = 0.0
    refused_by: str = ""
    """Which quota: `key`, `tenant`, `user` or `address`, then `_rate`, `_day`, `_bytes` or `_jobs`."""
    headers: tuple[tuple[str, str], ...] = ()
    """`RateLimit-Policy` and `RateLimit`, for the answer."""


class Quotas(Protocol):
    """Counts what callers use. While the shared counters are away, each gateway counts by itself: never no limit."""

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        """Take it from every quota it falls under, or from none."""
        ...

    async def begin_job(self, caller: Caller, job: str) -> QuotaVerdict:
        """Take one of the places for running bulk jobs; safe to repeat for the same job."""
        ...

    async def end_job(self, caller: Caller, job: str) -> None:
        """Give the place back; one that is never given back is free after a day."""
        ...


class NoQuotas:
    """Lets everything through."""

    async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
        del ask
        return QuotaVerdict(allowed=True)

    async def begin_job(self, caller: Caller, job: str) -> QuotaVerdict:
        del caller, job
        return QuotaVerdict(allowed=True)

    async def end_job(self, caller: Caller, job: str) -> None:
        """Nothing was taken."""
