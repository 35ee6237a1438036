"""Whether spending looks wrong now: the last hour against the day before it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

_HOUR: Final = timedelta(hours=1)
_DAY_HOURS: Final = 24

_QUERY: Final = """
WITH r.completed_at >= {hour_ago:DateTime64(6, 'UTC')} AS is_recent
SELECT
    coalesce(sumIf(r.cost_usd, is_recent), 0),
    coalesce(sumIf(r.cost_usd, NOT is_recent), 0),
    countIf(NOT is_recent),
    minIf(r.completed_at, NOT is_recent),
    countIf(is_recent AND r.status = 'completed'),
    countIf(is_recent AND r.status = 'completed' AND r.source != 'model'),
    countIf(is_recent AND r.cost_usd IS NULL)
FROM results AS r
WHERE r.completed_at >= {day_before:DateTime64(6, 'UTC')} AND r.completed_at < {now:DateTime64(6, 'UTC')}
    AND ({tenant:String} = '' OR r.tenant = {tenant:String})
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is still right: an hour's spend as a multiple of the usual one, the share of hits among answers."""

    spike_factor: Decimal
    min_hit_share: float
    min_answers: int = 20
    """Fewer answers in an hour say nothing about the cache."""
    min_spend_usd: Decimal = Decimal(0)
    """An hour that cost no more than this is no spike."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour, and the mean hour of the day before; None where there was no such day."""

    spend_usd: Decimal
    usual_usd: Decimal | None
    answers: int
    hits: int
    unpriced: int

    @property
    def hit_share(self) -> float | None:
        return self.hits / self.answers if self.answers else None


class Alert(NamedTuple):
    """One thing that looks wrong."""

    name: str
    message: str


ALERTS: Final = ("spend_spike", "hit_share_drop", "unknown_price", "soft_budget", "hard_budget")


def last_hour(client: Any, now: datetime, tenant: str | None) -> Hour:
    """Ask ClickHouse; its client's errors are raised as they are."""
    hour_ago = now - _HOUR
    day_before = hour_ago - _DAY_HOURS * _HOUR
    asked = {"now": now, "hour_ago": hour_ago, "day_before": day_before, "tenant": tenant or ""}
    spent, earlier, results, first, answers, hits, unpriced = client.query(_QUERY, parameters=asked).result_rows[0]
    usual = earlier / _hours_between(first, hour_ago) if results else None
    return Hour(Decimal(spent), usual, answers, hits, unpriced)


def alerts(hour: Hour, bounds: Bounds) -> list[Alert]:
    """What is wrong. A system without an earlier day has no usual hour, so no spike."""
    found = []
    spike = hour.usual_usd is not None and hour.spend_usd > bounds.spike_factor * hour.usual_usd
    if spike and hour.spend_usd > bounds.min_spend_usd:
        message = f"the last hour cost ${hour.spend_usd:.4f}, the usual one ${hour.usual_usd:.4f}"
        found.append(Alert("spend_spike", f"{message}; see: headrace cost report --by application --since 1h"))
    share = hour.hit_share
    if share is not None and hour.answers >= bounds.min_answers and share < bounds.min_hit_share:
        message = f"{share:.0%} of {hour.answers:,} answers were hits, at least {bounds.min_hit_share:.0%} are expected"
        found.append(Alert("hit_share_drop", f"{message}; see: headrace cost report --by template --since 1h"))
    if hour.unpriced:
        message = f"{hour.unpriced:,} results of the last hour have no known price; their cost is in no sum"
        found.append(Alert("unknown_price", f"{message}; see: headrace cost report --by model --since 1h"))
    return found


def budget_alerts(soft: int, hard: int) -> list[Alert]:
    """What is wrong where so many budgets are at or over their soft, and their hard, limit."""
    told = {"soft": "have come up to their soft limit", "hard": "have nothing left, their requests are rejected"}
    return [
        Alert(f"{limit}_budget", f"{count:,} budgets {told[limit]}; see: headrace budget list --over {limit}")
        for limit, count in (("soft", soft), ("hard", hard))
        if count
    ]


def textfile_of(hour: Hour, found: list[Alert]) -> str:
    """The same in Prometheus' text format, for node_exporter's textfile collector."""
    firing = {alert.name for alert in found}
    samples = [
        "# HELP headrace_cost_alert Whether this alert of `headrace cost check` holds.",
        "# TYPE headrace_cost_alert gauge",
        *(f'headrace_cost_alert{{alert="{name}"}} {int(name in firing)}' for name in ALERTS),
        "# HELP headrace_cost_last_hour_usd Paid in the last hour, as far as prices are known.",
        "# TYPE headrace_cost_last_hour_usd gauge",
        f"headrace_cost_last_hour_usd {hour.spend_usd:f}",
    ]
    return "\n".join(samples) + "\n"


def _hours_between(first: datetime, end: datetime) -> Decimal:
    """Hours since the first result, at least one, at most a day: a system three hours old has three usual hours."""
    start = first if first.tzinfo else first.replace(tzinfo=end.tzinfo)
    return min(max(Decimal((end - start) / _HOUR), Decimal(1)), Decimal(_DAY_HOURS))
