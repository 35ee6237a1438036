"""Whether a budget is spent: asked before a request is published, so that nobody queues for a refusal."""

from dataclasses import dataclass
from typing import Protocol

from schemas.request import PromptRequest


@dataclass(frozen=True, slots=True)
class SpentBudget:
    """A budget that has nothing left; `name` tells its owner which."""

    name: str
    resets_in_seconds: float | None = None
    """None where it does not reset by itself."""


class BudgetCheck(Protocol):
    """Knows budgets and what is left of them, from figures at most some seconds old."""

    async def spent(self, request: PromptRequest) -> SpentBudget | None:
        """The first budget of the request's tenant, department, user or application that is spent.

        Answers None while its store is away: the worker asks again before it pays.
        """
        ...


class NoBudgets:
    """Nobody has a budget."""

    async def spent(self, request: PromptRequest) -> SpentBudget | None:
        del request
        return None
