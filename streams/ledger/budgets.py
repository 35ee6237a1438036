"""What a budget is: whose, for how long, how much; and what is said when nothing of it is left. Pure.

A budget is full when what was spent, what is at risk and what is reserved come up to its hard limit. A call may be sent
while it is not, so spend passes a limit by less than one reservation.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from schemas.result import ErrorDetail

Scope = Literal["tenant", "department", "user"]
Period = Literal["day", "month"]

SCOPES: Final[tuple[Scope, ...]] = ("tenant", "department", "user")
PERIODS: Final[tuple[Period, ...]] = ("day", "month")
BUDGET_EXCEEDED: Final = "budget_exceeded"


class Asker(Protocol):
    """Who would pay."""

    @property
    def tenant(self) -> str: ...

    @property
    def department(self) -> str | None: ...

    @property
    def user_id(self) -> str | None: ...


class BudgetKey(NamedTuple):
    """Whose spend is counted, and over what. `name` is empty for a tenant's own budget."""

    tenant: str
    scope: Scope
    name: str
    period: Period


class Use(NamedTuple):
    """A budget with a hard limit, as it stands: paid, sent without an answer seen, reserved by calls under way."""

    period: Period
    hard_usd: Decimal
    spent_usd: Decimal
    at_risk_usd: Decimal
    reserved_usd: Decimal
    resets_at: datetime

    @property
    def is_full(self) -> bool:
        return self.spent_usd + self.at_risk_usd + self.reserved_usd >= self.hard_usd

    @property
    def is_used_up(self) -> bool:
        """Full whatever the calls under way turn out to cost."""
        return self.spent_usd + self.at_risk_usd >= self.hard_usd

    @property
    def left_usd(self) -> Decimal:
        return max(self.hard_usd - self.spent_usd - self.at_risk_usd - self.reserved_usd, Decimal(0))


def keys_of(asker: Asker) -> Iterator[BudgetKey]:
    """Every budget that a call of this asker counts in."""
    for scope, name in zip(SCOPES, ("", asker.department, asker.user_id), strict=True):
        if name is not None:
            yield from (BudgetKey(asker.tenant, scope, name, period) for period in PERIODS)


def starts_at(period: Period, moment: datetime) -> datetime:
    """When the UTC day or month of `moment` began."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if period == "day" else day.replace(day=1)


def resets_at(period: Period, moment: datetime) -> datetime:
    """When the UTC day or month of `moment` ends."""
    start = starts_at(period, moment)
    longest = timedelta(days=1 if period == "day" else 31)
    return starts_at(period, start + longest)


def barring(uses: Iterable[tuple[Scope, Use]]) -> tuple[Scope, Use] | None:
    """Of those that are full the one to tell of: one that is used up before others, and the last to reset."""
    full = [(scope, use) for scope, use in uses if use.is_full]
    full.sort(key=lambda each: each[0])
    return max(full, key=lambda each: (each[1].is_used_up, each[1].resets_at), default=None)


def refusal_of(scope: Scope, use: Use) -> ErrorDetail:
    """What the asker is told: it names no tenant, department or user, whose budget it is says `scope`."""
    taken = f"{_usd(use.spent_usd)} spent"
    for amount, why in ((use.at_risk_usd, "at risk"), (use.reserved_usd, "reserved by calls under way")):
        taken += f", {_usd(amount)} {why}" if amount else ""
    message = (
        f"the {scope}'s budget of {_usd(use.hard_usd)} a {use.period} has {_usd(use.left_usd)} left ({taken}); "
        f"it resets at {use.resets_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}. Ask again then, under a new request_id"
    )
    return ErrorDetail(code=BUDGET_EXCEEDED, message=message, retryable=True)


def _usd(amount: Decimal) -> str:
    plain = f"{amount:.6f}".rstrip("0")
    whole, _, cents = plain.partition(".")
    return f"${whole}.{cents:0<2}"
