"""What operators do with budgets: set, look, remove, count anew; and which are over a limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import psycopg

    from streams.ledger.postgres_budgets import Budget

Limit = Literal["soft", "hard"]
LIMITS: Final[tuple[Limit, ...]] = ("soft", "hard")
Row = dict[str, Any]


@contextmanager
def budget_connection(dsn: str) -> "Iterator[psycopg.Connection[Any]]":
    """As for the ledger. Raises BooksUnreadableError for whatever fails inside."""
    import psycopg

    from ops.ledger_books import BooksUnreadableError, ledger_connection

    with ledger_connection(dsn) as connection:
        try:
            yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
            raise BooksUnreadableError("Postgres has no budgets yet. Run: headrace migrate") from None


def is_over(budget: "Budget", limit: Limit) -> bool:
    """Whether what was paid, or perhaps paid, has come up to the limit."""
    usd = budget.soft_usd if limit == "soft" else budget.hard_usd
    return usd is not None and budget.taken_usd >= usd


def row_of(budget: "Budget") -> Row:
    """One budget as JSON has it."""
    row: Row = {name: _plain(value) for name, value in budget._asdict().items()}
    over = [limit for limit in LIMITS if is_over(budget, limit)]
    return row | {"left_usd": _plain(budget.left_usd), "resets_at": budget.resets_at.isoformat(), "over": over}


def words_of(budget: "Budget") -> str:
    """One budget as a line."""
    whose = budget.tenant if budget.scope == "tenant" else f"{budget.tenant} {budget.scope} {budget.name}"
    set_ones = (("soft", budget.soft_usd), ("hard", budget.hard_usd))
    limits = ", ".join(f"{name} ${_plain(usd)}" for name, usd in set_ones if usd is not None)
    amounts = (("spent", budget.spent_usd), ("at risk", budget.at_risk_usd), ("reserved", budget.reserved_usd))
    taken = ", ".join(f"${_plain(usd)} {name}" for name, usd in amounts)
    left = "" if budget.left_usd is None else f", ${_plain(budget.left_usd)} left"
    over = "".join(f"  OVER {limit.upper()}" for limit in LIMITS if is_over(budget, limit))
    return f"{whose}, a {budget.period}: {limits}; {taken}{left}; resets {budget.resets_at:%Y-%m-%d %H:%M} UTC{over}"


def _plain(value: object) -> object:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value
