"""`headrace budget set|show|list|remove|rebuild`: what a tenant, a department or a user may spend."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ops.cli.errors import NOT_FOUND, USAGE, CommandError

if TYPE_CHECKING:
    import psycopg

    from streams.ledger.budgets import BudgetKey
    from streams.ledger.postgres_budgets import Budget

_MOST_USD: Final = Decimal(10) ** 12
_HELP: Final = "headrace budget set --help"

Tenant = Annotated[str, typer.Option(help="Whose spend.")]
Department = Annotated[str | None, typer.Option(help="Of this department of the tenant alone.")]
User = Annotated[str | None, typer.Option(help="Of this user (user_id) of the tenant alone.")]
ThePeriod = Annotated[str, typer.Option("--period", help="day or month, in UTC.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def set_(
    tenant: Tenant,
    period: ThePeriod,
    soft: Annotated[str | None, typer.Option(metavar="USD", help="An alert from here on.")] = None,
    hard: Annotated[str | None, typer.Option(metavar="USD", help="No call once so much is spent.")] = None,
    department: Department = None,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Set both limits of one budget; one that is not given is none. It holds from the next call on.

    A new budget counts what its period has cost so far.
    """
    from streams.ledger.postgres_budgets import budgets, set_budget

    key = _key(tenant, department, user, period)
    soft_usd, hard_usd = _usd("--soft", soft), _usd("--hard", hard)
    if soft_usd is None and hard_usd is None:
        raise CommandError("Say how much: --soft, --hard or both.", _HELP, USAGE)
    if soft_usd is not None and hard_usd is not None and soft_usd > hard_usd:
        raise CommandError("A soft limit above the hard one would never alert.", _HELP, USAGE)
    with _budgets() as connection:
        set_budget(connection, key, soft_usd, hard_usd)
        found = [budget for budget in budgets(connection, tenant) if budget.key == key]
    _print(found, as_json)


def show(tenant: Tenant, department: Department = None, user: User = None, as_json: AsJson = False) -> None:
    """Show the budgets of one tenant, department or user: spent, at risk, reserved, left, and when they reset."""
    from streams.ledger.postgres_budgets import budgets

    wanted = _key(tenant, department, user, "day")[:3]
    with _budgets() as connection:
        found = [budget for budget in budgets(connection, tenant) if budget.key[:3] == wanted]
    if not found:
        raise CommandError(f"No budget is set for {' '.join(wanted).strip()}.", "headrace budget list", NOT_FOUND)
    _print(found, as_json)


def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    over: Annotated[str | None, typer.Option(metavar="soft|hard", help="Only those at or over this limit.")] = None,
    as_json: AsJson = False,
) -> None:
    """List budgets with their counters of the running day or month."""
    from ops.budget_books import is_over
    from streams.ledger.postgres_budgets import budgets

    if over not in {None, "soft", "hard"}:
        raise CommandError("--over takes soft or hard", "headrace budget list --help", USAGE)
    with _budgets() as connection:
        found = budgets(connection, tenant)
    if over is not None:
        found = [budget for budget in found if is_over(budget, "soft" if over == "soft" else "hard")]
    _print(found, as_json)


def remove(
    tenant: Tenant, period: ThePeriod, department: Department = None, user: User = None, as_json: AsJson = False
) -> None:
    """Remove one budget. Requests it has refused stay refused; ask again under new ids."""
    from streams.ledger.postgres_budgets import remove_budget

    key = _key(tenant, department, user, period)
    with _budgets() as connection:
        was_there = remove_budget(connection, key)
    if not was_there:
        raise CommandError(f"No budget a {period} is set there.", "headrace budget list", NOT_FOUND)
    print(json.dumps({"removed": key._asdict()}) if as_json else "removed")


def rebuild(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None, as_json: AsJson = False
) -> None:
    """Count budgets anew from the ledger's calls, and name those whose counters differed. No call is made meanwhile."""
    from streams.ledger.postgres_budgets import budgets
    from streams.ledger.postgres_budgets import rebuild as rebuild_budgets

    with _budgets() as connection:
        differed = rebuild_budgets(connection, tenant)
        found = budgets(connection, tenant)
    if as_json:
        print(json.dumps({"budgets": len(found), "differed": [key._asdict() for key in differed]}))
        return
    print(f"{len(found)} budgets counted anew, {len(differed)} had differed")
    for key in differed:
        print(f"  {' '.join(part for part in key if part)}")


def _key(tenant: str, department: str | None, user: str | None, period: str) -> "BudgetKey":
    from streams.ledger.budgets import PERIODS, BudgetKey

    chosen = next((each for each in PERIODS if each == period), None)
    if chosen is None:
        raise CommandError("--period takes day or month", _HELP, USAGE)
    if department and user:
        raise CommandError("A budget is a department's or a user's; set one for each.", _HELP, USAGE)
    if not tenant or department == "" or user == "":
        raise CommandError("Names must not be empty.", _HELP, USAGE)
    if department:
        return BudgetKey(tenant, "department", department, chosen)
    return BudgetKey(tenant, "user", user, chosen) if user else BudgetKey(tenant, "tenant", "", chosen)


def _usd(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and 0 <= amount <= _MOST_USD):
        raise CommandError(f"{option} takes an amount of US dollars, such as 12.50", _HELP, USAGE)
    return amount


@contextmanager
def _budgets() -> "Iterator[psycopg.Connection[Any]]":
    from ops.budget_books import budget_connection
    from ops.ledger_books import BooksUnreadableError
    from streams.settings import Settings

    try:
        with budget_connection(Settings().postgres.get_secret_value()) as connection:
            yield connection
    except BooksUnreadableError as error:
        raise CommandError(str(error), "headrace status") from None


def _print(found: "list[Budget]", as_json: bool) -> None:
    from ops.budget_books import row_of, words_of

    if as_json:
        print(json.dumps({"budgets": [row_of(budget) for budget in found]}))
    else:
        print("\n".join(map(words_of, found)) or "no budgets")
