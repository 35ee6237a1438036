"""Since when stored answers are good, by group of requests. Pure; fed by `PostgresCutoffs`.

An invalidation is one moment for one group: what was asked of the model before it is stale for every request of the
group, whichever tier holds it. So it costs the same for one answer and for a million, no tier has to be searched, and a
cache that was lost, or one that comes back with old answers, revives none: Postgres keeps the moments. Moments rather
than counters, because one answer serves requests of many labels; a counter in the key would tear a fleet apart.

Clocks: a moment is Postgres', the time of an answer its worker's. A worker that is ahead by a second keeps what was
asked for in the second before.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from schemas.request import DAY_SECONDS

LONGEST_LIFE: Final = timedelta(seconds=30 * DAY_SECONDS)
"""No answer lives longer; older moments are forgotten."""
EVERYTHING: Final = "all"


def group_of(kind: str, value: str) -> str:
    """The name of a group: `tenant`, `template`, `model`, or a label as `label` and `name=value`."""
    return f"{kind}:{value}"


class Cutoffs:
    """The newest moments known here. Until the first are read, every answer is good."""

    def __init__(self) -> None:
        self._moments_ms: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._moments_ms)

    def replace(self, moments: Mapping[str, datetime]) -> None:
        """What Postgres holds now."""
        self._moments_ms = {group: int(moment.timestamp() * 1000) for group, moment in moments.items()}

    def fresh_since_ms(self, tenant: str, template: str | None, model: str, labels: Mapping[str, str]) -> int:
        """Answers asked for before are stale for such a request; 0: none is."""
        if not self._moments_ms:
            return 0
        return max(self._moments_ms.get(group, 0) for group in _groups(tenant, template, model, labels))


def _groups(tenant: str, template: str | None, model: str, labels: Mapping[str, str]) -> Iterator[str]:
    yield EVERYTHING
    yield group_of("tenant", tenant)
    yield group_of("model", model)
    if template is not None:
        yield group_of("template", template)
    yield from (group_of("label", f"{name}={value}") for name, value in labels.items())
