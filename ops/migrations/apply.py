"""Bringing a store to the newest step. Repeatable, and safe when two do it at once."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ops.migrations.partitions import create_months, missing_months

if TYPE_CHECKING:
    import psycopg

StoreName = Literal["postgres", "clickhouse"]

_HERE: Final = Path(__file__).parent
_LOCK: Final = 0x4845414452414345  # "HEADRACE", the key of the advisory lock
_CONNECT_SECONDS: Final = 5


class MigrationError(Exception):
    """A store could not be reached or changed; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done to one store; `was` is None for an empty one."""

    store: StoreName
    was: str | None
    now: str
    partitions: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return self.was != self.now or bool(self.partitions)


def newest_step(store: StoreName) -> str:
    """The number of the last step, from the file names: alembic itself takes longer to load than to run."""
    return max(path.name.partition("_")[0] for path in (_HERE / store / "versions").glob("[0-9]*.py"))


def migrate_postgres(dsn: str, now: datetime) -> Migrated:
    """Apply what is missing, then make the partitions around `now`. Raises MigrationError."""
    import psycopg

    try:
        with psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None) as connection:
            newest, was = newest_step("postgres"), _postgres_step(connection)
            if was == newest and not missing_months(connection, now):
                return Migrated("postgres", was, newest)
            connection.rollback()
            # On a connection of its own: alembic ends transactions, and a lock of the session is lost behind PgBouncer.
            with psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None) as turn:
                turn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                return _migrated(connection, now)
    except psycopg.Error as error:
        raise MigrationError(_advice("Postgres", type(error).__name__, str(error))) from None


def _migrated(connection: psycopg.Connection, now: datetime) -> Migrated:
    newest, was = newest_step("postgres"), _postgres_step(connection)
    if was != newest:
        _upgrade_postgres(connection)
    months = missing_months(connection, now)
    create_months(connection, months)
    connection.commit()
    return Migrated("postgres", was, newest, [month.table for month in months])


def migrate_clickhouse(url: str) -> Migrated:
    """Apply what is missing. Two at once both do so; every step may be repeated. Raises MigrationError."""
    newest, was = newest_step("clickhouse"), clickhouse_step(url)
    if was != newest:
        _upgrade_clickhouse(url)
    return Migrated("clickhouse", was, newest)


def clickhouse_step(url: str) -> str | None:
    """The newest step in the version table; None where there is no table. Raises MigrationError."""
    database = _database(url)
    _ask(url, f"CREATE DATABASE IF NOT EXISTS `{database}`")
    if _ask(url, f"EXISTS TABLE `{database}`.alembic_version").strip() != "1":
        return None
    return _ask(url, f"SELECT max(version_num) FROM `{database}`.alembic_version").strip() or None  # noqa: S608 - ours


def _postgres_step(connection: psycopg.Connection) -> str | None:
    found = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return None
    row = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
    return None if row is None else row[0]


def _upgrade_postgres(connection: psycopg.Connection) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    with engine.connect() as wrapped:
        _upgrade("postgres", wrapped)


def _upgrade_clickhouse(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    parts = urllib.parse.urlsplit(url)
    address = urllib.parse.urlunsplit(parts._replace(scheme="clickhousedb+connect", path=f"/{_database(url)}"))
    engine = create_engine(address, connect_args={"secure": "true"} if parts.scheme == "https" else {})
    try:
        with engine.connect() as connection:
            _upgrade("clickhouse", connection)
    except SQLAlchemyError as error:
        raise MigrationError(_advice("ClickHouse", type(error).__name__, str(error))) from None
    finally:
        engine.dispose()


def _upgrade(store: StoreName, connection: Any) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE / store).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _database(url: str) -> str:
    return urllib.parse.urlsplit(url).path.strip("/") or "headrace"


def _ask(url: str, statement: str) -> str:
    """One statement over plain HTTP: the client library takes longer to load than the question."""
    parts = urllib.parse.urlsplit(url)
    host = f"{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}"
    login = f"{urllib.parse.unquote(parts.username or 'default')}:{urllib.parse.unquote(parts.password or '')}"
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    request = urllib.request.Request(f"{parts.scheme}://{host}/", statement.encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the operator's own address
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise MigrationError(
            _advice("ClickHouse", f"HTTP {error.code}", error.read(500).decode(errors="replace"))
        ) from None
    except OSError as error:
        raise MigrationError(_advice("ClickHouse", type(error).__name__, str(error))) from None


def _advice(store: str, kind: str, said: str) -> str:
    first = said.strip().splitlines()[0][:300] if said.strip() else "no more is known"
    return (
        f"{store} could not be migrated ({kind}: {first}). Is it up? See: headrace status, then run: headrace migrate"
    )
