"""`headrace cost report|estimate|check`: what was spent, what a file would cost, whether spending looks wrong."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import FAILED, NOT_FOUND, USAGE, CommandError

if TYPE_CHECKING:
    from ops.cost.check import Alert, Hour
    from ops.cost.report import CostReport

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def report(
    by: Annotated[
        str, typer.Option(help="department, tenant, user, application, model, template or day.")
    ] = "department",
    since: Annotated[str, typer.Option(help="90s, 15m, 2h, 7d ago, or a day or time (ISO 8601).")] = "7d",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    top: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many groups at most.")] = 100,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, safe to open in a sheet.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="OUT.png", help="Draw it; needs: pip install headrace[plot].")
    ] = None,
) -> None:
    """What each group asked, paid, saved and would have paid without the cache, most expensive first."""
    from ops.cli.moments import moment_of
    from ops.cost.report import DIMENSIONS, cost_report
    from ops.cost.views import csv_of, document_of, table_of

    chosen = next((dimension for dimension in DIMENSIONS if dimension == by), None)
    if chosen is None:
        raise CommandError(f"--by takes {', '.join(DIMENSIONS)}", "headrace cost report --help", USAGE)
    if as_json and as_csv:
        raise CommandError("give --json or --csv, not both", "headrace cost report --help", USAGE)
    start = moment_of(since, "--since takes 15m, 2h, 7d or an ISO 8601 day or time", "headrace cost report --help")
    with _clickhouse() as client:
        found = cost_report(client, chosen, start.astimezone(UTC), tenant, top)
    if picture is not None:
        _draw(found, picture)
    if as_json:
        print(json.dumps(document_of(found)))
    else:
        print(csv_of(found) if as_csv else table_of(found), end="" if as_csv else "\n")


def estimate(
    file: Annotated[Path, typer.Argument(help="FILE.jsonl or FILE.csv, as for headrace bulk run.")],
    tenant: Annotated[str, typer.Option(help="Tenant of lines that name none.")] = "default",
    as_json: AsJson = False,
) -> None:
    """What a bulk run of this file would call, take and cost. Publishes nothing."""
    from ops.cost.estimate_view import words_of
    from ops.cost.file import estimate_file
    from producers.bulk import BulkFileError
    from streams.settings import Settings

    if not file.is_file():
        raise CommandError(f"there is no file {file}", None, NOT_FOUND)
    settings = Settings()
    try:
        told = estimate_file(file, tenant, settings)
    except BulkFileError as error:
        raise CommandError(f"{file}: {error}", None, USAGE) from error
    print(json.dumps({**told.as_json(), "rehearsed": settings.rehearsed}) if as_json else words_of(told))


def check(
    spike_factor: Annotated[float, typer.Option(min=1, help="An hour may cost so many usual ones.")] = 3,
    min_hit_share: Annotated[float, typer.Option(min=0, max=1, help="Of the last hour's answers.")] = 0.3,
    min_answers: Annotated[int, typer.Option(min=1, help="Fewer answers say nothing of the cache.")] = 20,
    min_spend_usd: Annotated[float, typer.Option(min=0, help="An hour this cheap is no spike.")] = 0,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    textfile: Annotated[
        Path | None, typer.Option(metavar="OUT.prom", help="Also write it for node_exporter's textfile collector.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the last hour with the mean hour of the day before, and budgets with their limits.

    Exits 1 and says why when something looks wrong.
    """
    from ops.cost.check import Bounds, alerts, last_hour

    with _clickhouse() as client:
        hour = last_hour(client, datetime.now(UTC), tenant)
    bounds = Bounds(Decimal(str(spike_factor)), min_hit_share, min_answers, Decimal(str(min_spend_usd)))
    found = alerts(hour, bounds) + _budget_alerts(tenant)
    if textfile is not None:
        _replace(textfile, hour, found)
    print(json.dumps(_checked(hour, found)) if as_json else _told(hour, found))
    if found:
        raise typer.Exit(FAILED)


def _budget_alerts(tenant: str | None) -> "list[Alert]":
    from ops.budget_books import LIMITS, budget_connection, is_over
    from ops.cost.check import budget_alerts
    from ops.ledger_books import BooksUnreadableError
    from streams.ledger.postgres_budgets import budgets
    from streams.settings import Settings

    try:
        with budget_connection(Settings().postgres.get_secret_value()) as connection:
            found = budgets(connection, tenant)
    except BooksUnreadableError as error:
        print(f"budgets were not looked at: {error}", file=sys.stderr)
        return []
    soft, hard = (sum(is_over(budget, limit) for budget in found) for limit in LIMITS)
    return budget_alerts(soft, hard)


@contextmanager
def _clickhouse() -> Iterator[Any]:
    from ops.cost.analysts import AnalystsUnavailableError, analysts
    from streams.settings import Settings

    try:
        with analysts(Settings()) as client:
            yield client
    except AnalystsUnavailableError as error:
        raise CommandError(str(error), "headrace status") from None


def _draw(found: "CostReport", picture: Path) -> None:
    from ops.cost.plot import PlotUnavailableError, plot

    try:
        plot(found, picture)
    except PlotUnavailableError as error:
        raise CommandError(str(error), "pip install headrace[plot]") from None
    except OSError as error:
        raise CommandError(f"{picture} cannot be written: {error.strerror}", None) from None


def _checked(hour: "Hour", found: "list[Alert]") -> dict[str, Any]:
    return {
        "alerts": [alert._asdict() for alert in found],
        "last_hour_usd": float(hour.spend_usd),
        "usual_hour_usd": None if hour.usual_usd is None else round(float(hour.usual_usd), 9),
        "answers": hour.answers,
        "hit_share": hour.hit_share,
        "unpriced": hour.unpriced,
    }


def _told(hour: "Hour", found: "list[Alert]") -> str:
    usual = "unknown" if hour.usual_usd is None else f"${hour.usual_usd:.4f}"
    share = "-" if hour.hit_share is None else f"{hour.hit_share:.0%}"
    lines = [f"the last hour: ${hour.spend_usd:.4f} (usual {usual}), {hour.answers:,} answers, {share} hits"]
    return "\n".join([*lines, *(f"{alert.name}: {alert.message}" for alert in found)])


def _replace(textfile: Path, hour: "Hour", found: "list[Alert]") -> None:
    """In one step: the collector must never read half a file."""
    from ops.cost.check import textfile_of

    written = textfile.with_name(textfile.name + ".tmp")
    try:
        written.write_text(textfile_of(hour, found))
        written.replace(textfile)
    except OSError as error:
        raise CommandError(f"{textfile} cannot be written: {error.strerror}", None) from None
