"""Alembic's entry for ClickHouse, on clickhouse-connect's dialect. ClickHouse has no transaction around DDL."""

from alembic import context
from clickhouse_connect.cc_sqlalchemy import alembic as _dialect  # noqa: F401 - its import registers the dialect

if context.is_offline_mode():
    context.configure(dialect_name="clickhousedb", as_sql=True)
else:
    context.configure(connection=context.config.attributes["connection"])

with context.begin_transaction():
    context.run_migrations()
