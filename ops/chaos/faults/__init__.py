"""Every fault there is, in the order they are run; a module here adds its `FAULTS`."""

from collections.abc import Mapping, Sequence
from typing import Final

from ops.chaos.fault import Fault
from ops.chaos.faults import cluster, duplicates, gateway, kills, model, outages, records, stores

FAMILIES: Final[Mapping[str, Sequence[Fault]]] = {
    "kills": kills.FAULTS,
    "duplicates": duplicates.FAULTS,
    "records": records.FAULTS,
    "outages": outages.FAULTS,
    "stores": stores.FAULTS,
    "model": model.FAULTS,
    "gateway": gateway.FAULTS,
    "cluster": cluster.FAULTS,
}

ALL: Final[Sequence[Fault]] = tuple(fault for family in FAMILIES.values() for fault in family)

_FULL: Final = {fault.name: fault for fault in (*outages.FULL, *model.FULL)}
"""Faults whose outage lasts a minute instead of 20 seconds."""

QUICK: Final = (
    *("worker-killed", "killed-after-reply", "killed-after-settle", "killed-after-publish", "all-terminated"),
    *("none", "concurrent-duplicates", "poison", "wrong-keys"),
    *("redis-flushed", "clickhouse-reply-lost", "bad-row", "model-resets"),
)
"""What CI runs: a third, of each family what a slip in the code would break first, none of the slow ones."""


class UnknownFaultError(LookupError):
    """No fault of that name."""

    def __init__(self, name: str) -> None:
        known = ("all", *FAMILIES, *(fault.name for fault in ALL))
        super().__init__(f"there is no fault {name!r}; known: {', '.join(known)}")


def faults_named(names: str, *, full: bool = False) -> Sequence[Fault]:
    """Faults by name or family, commas between, or `all`; with outages of full length where asked.

    Raises UnknownFaultError.
    """
    found: dict[str, Fault] = {}
    for name in names.split(","):
        chosen = ALL if name == "all" else FAMILIES.get(name) or [fault for fault in ALL if fault.name == name]
        if not chosen:
            raise UnknownFaultError(name)
        found |= {fault.name: _FULL.get(fault.name, fault) if full else fault for fault in chosen}
    return list(found.values())
