"""`headrace migrate`: the tables of both stores."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.cli.errors import FAILED, PARTIAL, CommandError

if TYPE_CHECKING:
    from ops.migrations.apply import Migrated


def migrate(
    store: Annotated[Literal["all", "postgres", "clickhouse"], typer.Option("--store", help="Only this one.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Bring the stores' tables up to date and make the coming months' partitions. Safe to repeat, and to run twice."""
    from ops.migrations.apply import MigrationError, migrate_clickhouse, migrate_postgres
    from streams.settings import Settings

    settings = Settings()
    steps: dict[str, Callable[[], Migrated]] = {
        "postgres": lambda: migrate_postgres(settings.postgres.get_secret_value(), datetime.now(UTC)),
        "clickhouse": lambda: migrate_clickhouse(settings.clickhouse.get_secret_value()),
    }
    done: list[Migrated] = []
    failed: list[str] = []
    for name in steps if store == "all" else (store,):
        try:
            done.append(steps[name]())
        except MigrationError as error:
            failed.append(str(error))
    for each in done:
        print(_told(each), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps({"stores": [asdict(each) | {"changed": each.changed} for each in done], "errors": failed}))
    if failed:
        raise CommandError(" ".join(failed), "headrace migrate", PARTIAL if done else FAILED)


def _told(done: "Migrated") -> str:
    if not done.changed:
        return f"{done.store}: up to date at {done.now}"
    partitions = f", new partitions: {', '.join(done.partitions)}" if done.partitions else ""
    return f"{done.store}: {done.was or 'empty'} -> {done.now}{partitions}"
