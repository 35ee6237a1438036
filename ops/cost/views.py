"""A cost report as a table of 80 columns, as JSON, as CSV."""

import csv
import io
import unicodedata
from decimal import Decimal
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.cost.amounts import compact, dollars, duration
from ops.cost.report import CostReport, Spending

WIDTH: Final = 80
NO_NAME: Final = "(none)"
_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS: Final = ("requests", "hits", "share", "tokens", "cost", "saved", "uncached", "p50", "p95")
_CSV_COLUMNS: Final = (
    *("requests", "completed", "hits", "hit_share", "input_tokens", "output_tokens", "cost_usd", "saved_usd"),
    *("uncached_usd", "unpriced", "p50_ms", "p95_ms"),
)


def table_of(report: CostReport) -> str:
    """Text that fits 80 columns; a long name goes on in the next line."""
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column(report.by, overflow="fold", min_width=10)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for group in report.groups:
        table.add_row(Text(_printable(group.name) or NO_NAME), *_cells(group))
    if report.total is not None:
        table.add_section()
        table.add_row("total", *_cells(report.total))
    console = Console(width=WIDTH, file=io.StringIO(), color_system=None)
    with console.capture() as written:
        console.print(table)
    return "\n".join(line.rstrip() for line in written.get().splitlines() if line.strip()) + _notes(report)


def document_of(report: CostReport) -> dict[str, Any]:
    """For `--json`; dollars are numbers, null where no price is known."""
    total = report.total
    return {
        "by": report.by,
        "since": report.since.isoformat(),
        "tenant": report.tenant,
        "groups": [{report.by: group.name or None, **_numbers(group)} for group in report.groups],
        "total": None if total is None else _numbers(total),
        "more": report.more,
    }


def csv_of(report: CostReport) -> str:
    """The groups, no total: what adds up is the reader's sheet. No cell of text begins a formula."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow([report.by, *_CSV_COLUMNS])
    for group in report.groups:
        rows.writerow([_harmless(group.name), *("" if cell is None else cell for cell in _numbers(group).values())])
    return written.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text


def _printable(text: str) -> str:
    """Names come from callers: nothing in them moves a cursor or turns text around."""
    return "".join("�" if unicodedata.category(character).startswith("C") else character for character in text)


def _numbers(group: Spending) -> dict[str, Any]:
    numbers = {name: getattr(group, name) for name in _CSV_COLUMNS}
    return {name: _plain(value) for name, value in numbers.items()}


def _plain(value: float | Decimal | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(float(value), 9)


def _cells(group: Spending) -> list[str]:
    return [
        compact(group.requests),
        compact(group.hits),
        "-" if group.hit_share is None else f"{group.hit_share:.0%}",
        compact(group.input_tokens + group.output_tokens),
        dollars(group.cost_usd) + ("*" if group.unpriced else ""),
        dollars(group.saved_usd),
        dollars(group.uncached_usd),
        duration(group.p50_ms),
        duration(group.p95_ms),
    ]


def _notes(report: CostReport) -> str:
    notes = []
    if report.total is None:
        notes.append(f"no results since {report.since:%Y-%m-%d %H:%M} UTC")
    elif report.total.unpriced:
        notes.append(
            f"* {report.total.unpriced:,} requests of unknown price are in no sum; see streams/model/prices.json"
        )
    if report.more:
        notes.append("more groups are left off; the total counts them; --top shows more")
    return "".join(f"\n{note}" for note in notes)
