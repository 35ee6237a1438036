"""`headrace chaos`: faults under load on a private stack, four books compared."""

import json
import sys
from typing import Annotated

import typer

from ops.cli.errors import FAILED, USAGE, CommandError


def run(
    fault: Annotated[
        str, typer.Option(help="all, a name or a family; several with commas. See: headrace chaos list")
    ] = "all",
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often each.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the load; without it a new one, which is printed.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Outages of 60 s instead of 20 s.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Inject, heal, wait for lag zero, compare the books; exit 1 when a promise is broken."""
    import secrets
    import signal

    from rich.console import Console

    from ops.chaos.faults import UnknownFaultError, faults_named
    from ops.chaos.report import line_of, show
    from ops.chaos.run import Campaign, Row, run_campaign

    try:
        faults = faults_named(fault, full=full)
    except UnknownFaultError as error:
        raise CommandError(str(error), "headrace chaos list", USAGE) from error
    chosen = secrets.randbelow(2**31) if seed is None else seed
    print(f"seed {chosen}", file=sys.stderr)
    # SIGTERM ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[Row] = []

    def note(row: Row) -> None:
        rows.append(row)
        print(line_of(row), file=sys.stderr, flush=True)

    try:
        run_campaign(Campaign(faults, rounds, chosen), note)
    finally:
        # Also what was found before an interruption.
        ok = all(row.ok for row in rows)
        if as_json:
            print(json.dumps({"seed": chosen, "ok": ok, "rows": [row.to_json() for row in rows]}))
        elif rows:
            show(rows, Console(width=None if sys.stdout.isatty() else 160))
    if not ok:
        raise typer.Exit(FAILED)


def list_faults(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what each fault does, by family."""
    from ops.chaos.faults import FAMILIES

    listed = [(family, fault.name, fault.story) for family, faults in FAMILIES.items() for fault in faults]
    if as_json:
        print(json.dumps([{"family": family, "name": name, "story": story} for family, name, story in listed]))
        return
    for family, name, story in listed:
        print(f"{family:11} {name:24} {story}")
