"""The port to the rate limits: leave to make one call, and what the call then used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from schemas.result import Usage
from schemas.topics import Lane


@dataclass(frozen=True, slots=True)
class LimitAsk:
    """One call that is to be made; the tokens are estimates, corrected by `Limiter.settle`."""

    model: str
    tenant: str
    lane: Lane
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """What it costs in fairness."""
        return max(self.input_tokens + self.output_tokens, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """Leave to make one call; one that is never settled stays charged as estimated. `charged` False: no limit known."""

    ask: LimitAsk
    charged: bool


class Limiter(Protocol):
    """Waiting here is backpressure, not a failure."""

    async def acquire(self, ask: LimitAsk, wanted: Callable[[], bool] = lambda: True) -> Grant | None:
        """Wait for leave; None once the call is not `wanted`. Safe to cancel: then nothing stays charged."""
        ...

    def settle(self, grant: Grant, usage: Usage | None) -> None:
        """Correct the estimate by what was used; None where nothing was. At most once per grant."""
        ...

    def observe(self, model: str, headers: Mapping[str, str]) -> None:
        """Take over what the API said of its limits, with an answer or with a refusal."""
        ...


class NoLimiter:
    """Lets every call go at once."""

    async def acquire(self, ask: LimitAsk, wanted: Callable[[], bool] = lambda: True) -> Grant | None:
        return Grant(ask, charged=False) if wanted() else None

    def settle(self, grant: Grant, usage: Usage | None) -> None:
        """Nothing was taken."""

    def observe(self, model: str, headers: Mapping[str, str]) -> None:
        """Nothing is limited."""
