"""A cost report as a picture: bars of what was paid and what was saved."""

from pathlib import Path
from typing import Final

from ops.cost.report import CostReport, Spending
from ops.cost.views import NO_NAME

_MOST_BARS: Final = 31
_LONGEST_NAME: Final = 28
_PAID, _SAVED = "#1f4e79", "#9dc3e6"  # dark and light: told apart in grey, too


class PlotUnavailableError(RuntimeError):
    """The library that draws is not installed."""

    def __init__(self) -> None:
        super().__init__("drawing needs matplotlib")


def plot(report: CostReport, file: Path) -> None:
    """Write a PNG. Raises PlotUnavailableError, OSError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotUnavailableError from None
    days = report.by == "day"
    shown = report.groups[-_MOST_BARS:] if days else report.groups[:_MOST_BARS]
    names = [_short(group.name) for group in shown]
    paid, saved = [float(group.cost_usd or 0) for group in shown], [float(group.saved_usd or 0) for group in shown]
    # A Figure of its own draws without a display and leaves nothing behind in the process.
    figure = Figure(figsize=(9, 4.5 if days else max(2.2, 1.3 + 0.36 * len(shown))), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    if days:
        axes.bar(places, paid, color=_PAID, label="paid")
        axes.bar(places, saved, bottom=paid, color=_SAVED, label="saved")
        axes.set_xticks(places, names, rotation=45, ha="right")
    else:
        axes.barh(places, paid, color=_PAID, label="paid")
        axes.barh(places, saved, left=paid, color=_SAVED, label="saved")
        axes.set_yticks(places, names)
        axes.invert_yaxis()
    (axes.set_ylabel if days else axes.set_xlabel)("USD" + _unknown(report.groups))
    axes.set_title(f"Paid and saved by {report.by} since {report.since:%Y-%m-%d %H:%M} UTC", loc="left")
    axes.spines[["top", "right"]].set_visible(b=False)
    axes.legend(frameon=False)
    figure.savefig(file, format="png", dpi=120)


def _unknown(groups: list[Spending]) -> str:
    unpriced = sum(group.unpriced for group in groups)
    return f" ({unpriced:,} requests of unknown price are not in it)" if unpriced else ""


def _short(name: str) -> str:
    # A dollar sign would begin mathematics.
    shown = (name or NO_NAME).replace("$", r"\$")
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"
