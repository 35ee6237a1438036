"""The monthly partitions of `requests`: which ids belong to a month, and making the coming months' tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    import psycopg

MONTHS_AHEAD: Final = 3
_TIME_SHIFT: Final = 80  # a version 7 id is 48 bits of Unix milliseconds, then version, variant and noise


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        in_utc = moment.astimezone(UTC)
        return cls(in_utc.year, in_utc.month)

    def plus(self, months: int) -> Month:
        year, index = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, index + 1)

    @property
    def table(self) -> str:
        return f"requests_{self.year:04}_{self.number:02}"

    def first_id(self) -> UUID:
        """The smallest id of the month: its first millisecond, every other bit zero."""
        return UUID(int=int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp() * 1000) << _TIME_SHIFT)


def months_around(now: datetime, ahead: int = MONTHS_AHEAD) -> list[Month]:
    """Last month (late ids of long deadlines), this one and the next ones."""
    return [Month.of(now).plus(months) for months in range(-1, ahead + 1)]


def missing_months(connection: psycopg.Connection, now: datetime) -> list[Month]:
    """Those of `months_around` that have no partition yet."""
    months = months_around(now)
    found = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL",
        ([month.table for month in months],),
    ).fetchall()
    present = {row[0] for row in found}
    return [month for month in months if month.table not in present]


def create_months(connection: psycopg.Connection, months: list[Month]) -> None:
    """Make the partitions in the caller's transaction. Rows that waited in the default partition move into theirs."""
    from psycopg import sql

    for month in months:
        table, bounds = sql.Identifier(month.table), (month.first_id(), month.plus(1).first_id())
        low, high = (sql.Literal(str(bound)) for bound in bounds)
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE requests INCLUDING DEFAULTS)").format(table))
        connection.execute(
            sql.SQL(
                "WITH moved AS (DELETE FROM requests_default WHERE request_id >= {}::uuid AND request_id < {}::uuid"
                " RETURNING *) INSERT INTO {} SELECT * FROM moved"
            ).format(low, high, table)
        )
        connection.execute(
            sql.SQL("ALTER TABLE requests ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(table, low, high)
        )
