"""`headrace ledger show|unknown|audit|prune`: who paid for what, and what nobody knows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import FAILED, NOT_FOUND, CommandError

if TYPE_CHECKING:
    import psycopg

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def show(
    name: Annotated[str, typer.Argument(metavar="KEY_OR_REQUEST_ID", help="A request key, or a request's id.")],
    as_json: AsJson = False,
) -> None:
    """Show a key's row and every call made for it. Never the prompt or the answer."""
    from ops.ledger_books import entries_of

    with _ledger() as connection:
        rows, calls = entries_of(connection, name)
    if not rows and not calls:
        raise CommandError(f"The ledger knows no key and no request {name}.", "headrace ledger audit", NOT_FOUND)
    if as_json:
        print(_json({"rows": rows, "calls": calls}))
        return
    for row in rows:
        _print_fields("key", row)
    for call in calls:
        _print_fields("call", call)


def unknown(as_json: AsJson = False) -> None:
    """List calls that were sent and whose answer nobody saw, with the dollars at risk."""
    from ops.ledger_books import unknown_calls

    with _ledger() as connection:
        calls = unknown_calls(connection)
    at_risk = sum((call["at_risk_usd"] or Decimal(0) for call in calls), Decimal(0))
    if as_json:
        print(_json({"calls": calls, "at_risk_usd": at_risk}))
        return
    for call in calls:
        risk = "no price known" if call["at_risk_usd"] is None else f"{call['at_risk_usd']:f} USD"
        about = f"{risk}{' (estimate)' if call['estimated'] else ''}"
        print(f"{call['sent_at']:%Y-%m-%d %H:%M:%S}  {call['tenant']}  {call['request_id']}  {call['model']}  {about}")
    print(f"{len(calls)} calls of unknown outcome, at most about {at_risk:f} USD at risk")


def audit(
    model_ledger: Annotated[
        str | None, typer.Option("--model-ledger", metavar="URL", help="A rehearsal server to compare with, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger with the results, and with what the model charged; exit 1 and name what differs.

    Ask when nothing is on its way: a paid call whose result no sink has written yet is told as a difference.
    """
    from ops.ledger_books import BooksUnreadableError
    from ops.ledger_books import audit as audit_of

    with _ledger() as connection:
        try:
            done = audit_of(connection, model_ledger)
        except BooksUnreadableError as error:
            raise CommandError(str(error), "headrace status") from None
    if as_json:
        print(_json({"states": done.states, "differences": done.differences}))
    else:
        for state in done.states:
            print(f"{state['state']:<10} {state['calls']:>9} calls  {state['cost_usd']:f} USD")
        print("\n".join(done.differences) or "the books agree")
    if done.differences:
        raise typer.Exit(FAILED)


def prune(
    days: Annotated[float, typer.Option(min=0.01, help="Keep rows this long after they expired.")] = 7,
    call_days: Annotated[float, typer.Option(min=0.01, help="Keep the record of each call this long.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Delete what is settled and long expired, in small steps. Safe to repeat, also while workers run."""
    from streams.ledger.postgres_upkeep import prune as prune_ledger

    with _ledger() as connection:
        pruned = prune_ledger(connection, timedelta(days=days), timedelta(days=call_days))
    print(_json(pruned._asdict()) if as_json else f"deleted {pruned.rows} keys and {pruned.calls} calls")


@contextmanager
def _ledger() -> "Iterator[psycopg.Connection[dict[str, Any]]]":
    from ops.ledger_books import BooksUnreadableError, ledger_connection
    from streams.settings import Settings

    try:
        with ledger_connection(Settings().postgres.get_secret_value()) as connection:
            yield connection
    except BooksUnreadableError as error:
        raise CommandError(str(error), "headrace status") from None


def _print_fields(kind: str, fields: dict[str, Any]) -> None:
    print(kind)
    for name, value in fields.items():
        if value is not None:
            print(f"  {name:<19}{f'{value:f}' if isinstance(value, Decimal) else value}")


def _json(document: object) -> str:
    return json.dumps(document, default=lambda value: format(value, "f") if isinstance(value, Decimal) else str(value))
