"""Every fault there is, in the order they are run; a module here adds its `FAULTS`."""

from collections.abc import Sequence
from typing import Final

from ops.chaos.fault import Fault
from ops.chaos.faults import cluster, duplicates, kills, model, outages, records, stores

ALL: Final[Sequence[Fault]] = (
    *kills.FAULTS,
    *duplicates.FAULTS,
    *records.FAULTS,
    *outages.FAULTS,
    *stores.FAULTS,
    *model.FAULTS,
    *cluster.FAULTS,
)

_FULL: Final = {fault.name: fault for fault in (*outages.FULL, *model.FULL)}
"""Faults whose outage lasts a minute instead of 20 seconds."""

QUICK: Final = ("worker-killed", "killed-after-publish", "concurrent-duplicates", "poison", "all-terminated")
"""What CI runs: a chosen third of the families, none of the slow ones."""


class UnknownFaultError(LookupError):
    """No fault of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no fault {name!r}; known: {', '.join(fault.name for fault in ALL)}, all")


def faults_named(name: str, *, full: bool = False) -> Sequence[Fault]:
    """The fault of that name, or `all`; with outages of full length where asked. Raises UnknownFaultError."""
    found = [_FULL.get(fault.name, fault) if full else fault for fault in ALL if name in ("all", fault.name)]
    if not found:
        raise UnknownFaultError(name)
    return found
