"""What was asked, paid and saved, by one dimension, from ClickHouse's view `results` (each request once)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, get_args

Dimension = Literal["department", "tenant", "user", "application", "model", "template", "day"]
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)

_EXPRESSIONS: Final[dict[Dimension, str]] = {
    "department": "r.department",
    "tenant": "r.tenant",
    "user": "r.user_id",
    "application": "r.application",
    "model": "r.model",
    "template": "r.template",
    "day": "toString(toDate(r.completed_at, 'UTC'))",
}
_ORDERS: Final[dict[bool, str]] = {False: "cost_usd DESC NULLS LAST, requests DESC, name", True: "name DESC"}

# One query for groups and total: percentiles cannot be added up, and two queries could see different rows.
# A cost that nobody knows adds nothing to the sums; how many there are is counted beside them.
_QUERY: Final = """
SELECT
    {{expression}} AS name,
    grouping(name) AS is_total,
    count() AS requests,
    countIf(r.status = 'completed') AS completed,
    countIf(r.status = 'completed' AND r.source != 'model') AS hits,
    sum(r.input_tokens + r.cache_read_tokens + r.cache_write_tokens) AS input_tokens,
    sum(r.output_tokens) AS output_tokens,
    sum(r.cost_usd) AS cost_usd,
    sum(r.saved_usd) AS saved_usd,
    countIf(r.cost_usd IS NULL OR r.saved_usd IS NULL) AS unpriced,
    quantile(0.5)(dateDiff('millisecond', r.accepted_at, r.completed_at)) AS p50_ms,
    quantile(0.95)(dateDiff('millisecond', r.accepted_at, r.completed_at)) AS p95_ms
FROM results AS r
WHERE r.completed_at >= {since:DateTime64(6, 'UTC')} AND ({tenant:String} = '' OR r.tenant = {tenant:String})
GROUP BY GROUPING SETS ((name), ())
ORDER BY is_total DESC, {{order}}
LIMIT {rows:UInt32}
"""


@dataclass(frozen=True, slots=True)
class Spending:
    """One group's sums. A cost is None when no price in it is known; `unpriced` requests are in no sum of dollars."""

    name: str
    requests: int
    completed: int
    hits: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    saved_usd: Decimal | None
    unpriced: int
    p50_ms: float
    p95_ms: float

    @property
    def hit_share(self) -> float | None:
        """Answers not paid for among all answers; None where nothing was answered."""
        return self.hits / self.completed if self.completed else None

    @property
    def uncached_usd(self) -> Decimal | None:
        """What the same answers would have cost, each paid for: the known part."""
        known = [amount for amount in (self.cost_usd, self.saved_usd) if amount is not None]
        return sum(known, Decimal(0)) if known else None


@dataclass(frozen=True, slots=True)
class CostReport:
    """Groups in order of cost (days in order of time); `more` tells that groups were left off. The total has all."""

    by: Dimension
    since: datetime
    tenant: str | None
    groups: list[Spending]
    total: Spending | None
    more: bool = False


def cost_report(client: Any, by: Dimension, since: datetime, tenant: str | None, top: int) -> CostReport:
    """Ask ClickHouse. `client` is clickhouse-connect's, whose errors are raised as they are; at most `top` groups,
    the most expensive or the latest days.
    """
    query = _QUERY.replace("{{expression}}", _EXPRESSIONS[by]).replace("{{order}}", _ORDERS[by == "day"])
    asked = {"since": since, "tenant": tenant or "", "rows": top + 2}
    found = client.query(query, parameters=asked).result_rows
    sums = [(bool(row[1]), Spending(row[0], *row[2:])) for row in found]
    groups = [each for is_total, each in sums if not is_total]
    # Over no rows at all ClickHouse still answers with a total, of zeros.
    total = next((each for is_total, each in sums if is_total and each.requests), None)
    shown = groups[:top][::-1] if by == "day" else groups[:top]
    return CostReport(by, since, tenant, shown, total, more=len(groups) > top)
