"""Alembic's entry for Postgres: the connection is handed in, locked and inside one transaction."""

from alembic import context

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", as_sql=True)
else:
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)

with context.begin_transaction():
    context.run_migrations()
