"""What a person sees at the end of the demo: the analysts' table, one lookup, the books side by side."""

import re
from pathlib import Path

import psycopg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ops.demo.books import Books, clickhouse_client
from streams.settings import Settings

BY_DEPARTMENT = """
    SELECT department, count() AS requests, countIf(source != 'model') AS hits,
           sum(input_tokens + output_tokens) AS tokens, sum(cost_usd) AS cost, sum(saved_usd) AS saved,
           quantile(0.5)(dateDiff('millisecond', accepted_at, completed_at)) AS p50_ms,
           quantile(0.95)(dateDiff('millisecond', accepted_at, completed_at)) AS p95_ms
    FROM results WHERE tenant = {tenant:String} GROUP BY department ORDER BY cost DESC
"""
_ONE_REQUEST = """
    SELECT request_id, status, source, model, labels->>'device_name' AS device, cost_usd, saved_usd,
           left(answer, 40) AS answer_begins
    FROM requests WHERE tenant = %s AND source <> 'model' ORDER BY completed_at DESC LIMIT 1
"""


def print_report(settings: Settings, tenant: str, books: Books, picture: Path | None = None) -> None:
    """Ask both stores as their users would, and print what they say; `picture` also gets it, as SVG."""
    console = Console(record=picture is not None, width=80 if picture else None)
    console.print(_by_department(settings, tenant))
    console.print(_one_request(settings, tenant))
    console.print(_side_by_side(books))
    if settings.rehearsed:
        console.print("Answers are rehearsed: they come from a local server that imitates the Messages API.")
    if picture is not None:
        svg = console.export_svg(title="headrace demo")
        # The fonts rich names lie on another's server; a reader's own monospace will do.
        picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def _by_department(settings: Settings, tenant: str) -> Table:
    found = clickhouse_client(settings).query(BY_DEPARTMENT, parameters={"tenant": tenant})
    table = Table(title="ClickHouse: what each department asked and paid", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in found.column_names:
        table.add_column(name, justify="left" if name == "department" else "right", no_wrap=True)
    for department, requests, hits, tokens, cost, saved, p50, p95 in found.result_rows:
        counts = (f"{number:,}" for number in (requests, hits, tokens))
        table.add_row(department, *counts, f"${cost:.4f}", f"${saved:.4f}", f"{p50:,.0f}", f"{p95:,.0f}")
    return table


def _one_request(settings: Settings, tenant: str) -> Table:
    table = Table(title="Postgres: one request, looked up", show_header=False, box=SIMPLE_HEAD)
    with psycopg.connect(settings.postgres.get_secret_value()) as lookups:
        cursor = lookups.execute(_ONE_REQUEST, (tenant,))
        row = cursor.fetchone() or ()
        for column, value in zip(cursor.description or (), row, strict=False):
            table.add_row(column.name, repr(value) if column.name == "answer_begins" else str(value))
    return table


def _side_by_side(books: Books) -> Table:
    summary = books.summary
    table = Table(title="The books", box=SIMPLE_HEAD)
    for name in ("book", "requests", "cost", "saved"):
        table.add_column(name, justify="left" if name == "book" else "right")
    table.add_row("results topic", f"{summary.results:,}", f"${summary.cost_usd}", f"${summary.saved_usd}")
    for name, book in (("ClickHouse", books.clickhouse), ("Postgres", books.postgres)):
        table.add_row(name, f"{book.rows:,}", f"${book.cost_usd.normalize():f}", f"${book.saved_usd.normalize():f}")
    if books.model is not None:
        paid = f"{books.model.calls:,} calls for {books.unique_keys:,} keys"
        table.add_row("the model's own ledger", paid, f"${books.model.cost_usd.normalize():f}", "")
    return table
