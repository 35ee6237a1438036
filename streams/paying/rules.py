"""By what an answer is paid: bounds, and what must be passed in to stay predictable."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Protocol
from uuid import UUID

from schemas.result import Usage
from streams.admission import Work
from streams.errors import ModelError
from streams.failpoints import Failpoints
from streams.limits import Limiter, NoLimiter
from streams.model.gate import Passage
from streams.paying.stand_ins import FallbackPolicy
from streams.retries.policy import RetryPolicy

Price = Callable[[str, Usage], Decimal | None]
"""Cost in US dollars of one call of a model; None where the price is unknown."""


class Gate(Protocol):
    """Whether a model may be called now. Every passage is given back, by `report` or by `leave`."""

    async def enter(self, model: str, wanted: Callable[[], bool]) -> Passage | None: ...

    async def report(self, passage: Passage, error: ModelError | None) -> None: ...

    def leave(self, passage: Passage) -> None: ...

    def is_open_for(self, passage: Passage) -> bool: ...

    def is_broken(self, model: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class PayingRules:
    """Bounds of one answer."""

    soft_limit: timedelta = timedelta(seconds=240)
    """The longest a call may take."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    retry_ambiguous: bool = True
    first_poll: timedelta = timedelta(seconds=0.05)
    longest_poll: timedelta = timedelta(seconds=1)
    stand_in_lifetime: timedelta = timedelta(minutes=5)
    """How long an answer stays fresh, at most, that another model gave while a breaker was open."""
    mark_prompts: bool = True
    """Whether the provider is asked to keep what the prompts of a template share."""
    budget_patience: timedelta = timedelta(seconds=60)
    """How long a request waits for what calls under way have reserved of its budget before it is refused."""

    def poll_seconds(self, polls: int, jitter: float) -> float:
        """How long to wait for another's answer before asking the ledger for the `polls`-th time; jitter in [0, 1)."""
        doubled = self.first_poll.total_seconds() * float(2 ** min(polls - 1, 10))
        return min(doubled, self.longest_poll.total_seconds()) * (0.75 + jitter / 2)


@dataclass(frozen=True, slots=True)
class PayingTools:
    """What paying needs from its surroundings, beside its ports."""

    price: Price
    lifetime: Callable[[Work], timedelta]
    is_cancelled: Callable[[Work], bool]
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    random: Random
    failpoints: Failpoints
    limiter: Limiter = field(default_factory=NoLimiter)
    fallback: FallbackPolicy = field(default_factory=FallbackPolicy)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ceiling: Price | None = None
    """What a call may cost at most, also where its price is unknown; by default its price."""
