"""What a bench reports: figures, and the bars they are held against."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure and what it must reach; `at_least` False turns the target into an upper bound."""

    name: str
    value: float
    target: float
    at_least: bool = True

    @property
    def ok(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Report:
    """All of one bench; `rows` is the table of its rounds."""

    bench: str
    bars: list[Bar]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(bar.ok for bar in self.bars)

    def to_json(self) -> dict[str, Any]:
        bars = [{"name": bar.name, "value": bar.value, "target": bar.target, "ok": bar.ok} for bar in self.bars]
        return {"bench": self.bench, "bars": bars, "rows": self.rows, "notes": self.notes, "machine": machine()}


def merged(reports: Sequence[Report]) -> Report:
    """Several benches as one report; each row says which bench it is of."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        "all",
        [bar for report in reports for bar in report.bars],
        [{"bench": report.bench, **row} for report in reports for row in report.rows],
        [f"{report.bench}: {note}" for report in reports for note in report.notes],
    )


def machine() -> dict[str, Any]:
    """What the figures were taken on; `load_per_core` above 1 means that others worked here too."""
    cores = os.cpu_count() or 1
    return {
        "cores": cores,
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_per_core": round(os.getloadavg()[0] / cores, 2),
    }
