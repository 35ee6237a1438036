"""Rows of faults for people: one line each, then what was broken."""

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ops.chaos.run import Row

_SHOWN_IDS: Final = 10
_HEADS: Final = (
    *("fault", "round", "accepted", "results", "failed", "topic dup.", "calls", "keys", "ambig."),
    *("ClickHouse", "Postgres", "held", "recovery s", "lag 0 s"),
)


def line_of(row: Row) -> str:
    """One row as it comes, for a person who waits."""
    verdict = "ok" if row.ok else row.problem or f"BROKEN {''.join(sorted({v.invariant for v in row.violations}))}"
    paid = f"{row.model_calls} calls for {row.unique_keys} keys, {row.ambiguous} ambiguous"
    return f"{row.fault} #{row.round}: {row.accepted} accepted, {paid}; {verdict} ({row.seconds:.0f} s)"


def show(rows: Sequence[Row], console: Console) -> None:
    """The table, then every violation with its request ids and where the logs are."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "fault" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        for line in _troubles(row):
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def _cells(row: Row) -> list[str]:
    held = "A P C O L S" if row.ok else "none" if row.problem else "[red]not all[/red]"
    recovery = "-" if row.recovery_seconds is None else f"{row.recovery_seconds:.1f}"
    counts = (row.round, row.accepted, row.results, row.failed, row.duplicates_in_topic)
    stores = (row.model_calls, row.unique_keys, row.ambiguous, row.clickhouse, row.postgres)
    return [row.fault, *map(str, (*counts, *stores)), held, recovery, f"{row.lag_zero_seconds:.1f}"]


def _troubles(row: Row) -> list[str]:
    lines = [f"{row.fault} #{row.round}: no verdict: {row.problem}"] if row.problem else []
    for broken in row.violations:
        more = f" and {len(broken.request_ids) - _SHOWN_IDS} more" if len(broken.request_ids) > _SHOWN_IDS else ""
        ids = ", ".join(broken.request_ids[:_SHOWN_IDS])
        lines.append(f"{row.fault} #{row.round}: {broken.invariant} broken: {broken.what} {ids}{more}")
    return [*lines, f"  logs: {row.logs}"] if lines else []
