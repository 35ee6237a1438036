"""`headrace watch`: results as they come."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import INTERRUPTED

if TYPE_CHECKING:
    from streams.subscribe import ResultSubscriber
    from streams.subscribe_start import Start


def watch(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    since: Annotated[str, typer.Option(help="now, earliest, 90s, 15m, 2h, 3d, or a time (ISO 8601).")] = "now",
    answers: Annotated[bool, typer.Option("--answers", help="Show the answers too; they may be confidential.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many results.")] = None,
    idle_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="End when no result has come for so long.")
    ] = None,
) -> None:
    """Show every result: when, whose, how it ended, what it cost. Ends with Ctrl-C, --count or --idle-seconds."""
    from streams.settings import Settings
    from streams.subscribe import ResultSubscriber

    try:
        with ResultSubscriber(Settings().kafka_connection, start=_start_of(since), tenant=tenant) as subscriber:
            _show(subscriber, answers, as_json, count, idle_seconds)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _show(
    subscriber: "ResultSubscriber", answers: bool, as_json: bool, count: int | None, idle_seconds: float | None
) -> None:
    from itertools import islice

    from ops.watch_view import ndjson, table

    shown = islice(subscriber.results(idle_seconds), count)
    if as_json:
        ndjson(shown, sys.stdout, answers=answers)
    else:
        table(shown, sys.stdout, answers=answers)


def _start_of(since: str) -> "Start":
    from ops.cli.moments import moment_of

    if since == "now" or since == "earliest":  # noqa: PLR1714 - narrows the type
        return "now" if since == "now" else "earliest"
    return moment_of(since, "--since takes now, earliest, 15m or an ISO 8601 time", "headrace watch --help")
