"""`headrace cache stats|invalidate`: what the cache holds, and making answers stale."""

import json
from decimal import Decimal
from typing import Annotated

import typer

from ops.cli.errors import USAGE, CommandError

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def stats(as_json: AsJson = False) -> None:
    """Show what each tier holds, what it answered in the last day, and what was invalidated."""
    from ops.cache_books import stats as stats_of
    from streams.settings import Settings

    found = stats_of(Settings())
    if as_json:
        print(
            json.dumps(
                found.as_json(), default=lambda value: float(value) if isinstance(value, Decimal) else str(value)
            )
        )
        return
    for tier, counters in (("shared (Redis)", found.shared), ("ledger (Postgres)", found.ledger)):
        print(tier, *(f"{name} {count:,}" for name, count in counters.items()), sep="  ")
    for row in found.served_last_day:
        print(f"{row['source']:<16}{row['results']:>9,} results  ${row['saved_usd'] or 0:f} saved  in the last day")
    for row in found.invalidated:
        print(f"stale before {row['fresh_since']:%Y-%m-%d %H:%M:%S}  {row['group']}")
    for name in found.away:
        print(f"{name} cannot be asked; see: headrace status")


def invalidate(
    label: Annotated[
        str | None, typer.Option("--label", metavar="NAME=VALUE", help="Requests with this label.")
    ] = None,
    template: Annotated[str | None, typer.Option(metavar="NAME@VERSION", help="Requests of this template.")] = None,
    model: Annotated[str | None, typer.Option(help="Requests to this model.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Requests of this tenant.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every request.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make stored answers stale for one group of requests, in every tier and worker, within two seconds.

    What was asked of the model before now is not served to them again; the next of them asks anew, and its answer is
    everyone's. Requests that wait for their own paid answer still get it.
    """
    from ops.cache_books import CacheUnreadableError, invalidate_group
    from streams.settings import Settings

    group = _group(label, template, model, tenant, everything)
    try:
        moment = invalidate_group(Settings(), group)
    except CacheUnreadableError as error:
        raise CommandError(str(error), "headrace status") from None
    if as_json:
        print(json.dumps({"group": group, "fresh_since": moment.isoformat()}))
    else:
        print(f"answers asked for before {moment:%Y-%m-%d %H:%M:%S.%f %Z} are stale for {group}")


def _plain(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _group(label: str | None, template: str | None, model: str | None, tenant: str | None, everything: bool) -> str:
    from streams.cache.cutoffs import EVERYTHING, group_of

    given = {"label": label, "template": template, "model": model, "tenant": tenant}
    groups = [group_of(kind, value) for kind, value in given.items() if value] + [EVERYTHING] * everything
    if len(groups) != 1:
        raise CommandError(
            "Say which answers: one of --label, --template, --model, --tenant, --all.",
            "headrace cache invalidate --help",
            USAGE,
        )
    if label is not None and "=" not in label:
        raise CommandError(f"A label is NAME=VALUE, not {label}.", "headrace cache invalidate --help", USAGE)
    if template is not None and "@" not in template:
        raise CommandError(f"A template is NAME@VERSION, not {template}.", "headrace cache invalidate --help", USAGE)
    return groups[0]
