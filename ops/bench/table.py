"""A report for people: its rounds, its bars, its notes."""

from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.bench.report import Bar, Report


def show(report: Report, console: Console) -> None:
    """Print one table for each kind of row, then the bars with their verdict."""
    for columns, rows in groupby(report.rows, key=tuple):
        console.print(_rows_table(columns, list(rows)))
    console.print(_bars_table(report.bars))
    for note in report.notes:
        console.print(note, style="dim")


def _rows_table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    return table


def _bars_table(bars: list[Bar]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("bar")
    table.add_column("value", justify="right")
    table.add_column("target", justify="right")
    table.add_column("")
    for bar in bars:
        verdict = "[green]ok[/green]" if bar.ok else "[red]missed[/red]"
        table.add_row(bar.name, f"{bar.value:g}", f"{'>=' if bar.at_least else '<='} {bar.target:g}", verdict)
    return table
