"""How long the work of a dead worker lay idle. Pure."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from ops.chaos.load import Accepted
from ops.chaos.verdict import Entry
from ops.local.lag import Partition

Death = tuple[str, float, set[Partition]]


def recovery_seconds(deaths: Sequence[Death], accepted: Iterable[Accepted], topic: Iterable[Entry]) -> float | None:
    """From a death to the first completion of what that worker had unfinished; the longest; None without orphans."""
    first_result: dict[UUID, float] = {}
    for entry in topic:
        first_result[entry.request_id] = min(entry.at, first_result.get(entry.request_id, entry.at))
    asked, gaps = list(accepted), list[float]()
    for _, died_at, held in deaths:
        ends = [
            first_result[each.id]
            for each in asked
            if (each.topic, each.partition) in held and each.at <= died_at < first_result.get(each.id, 0)
        ]
        if ends:
            gaps.append(min(ends) - died_at)
    return round(max(gaps), 1) if gaps else None
