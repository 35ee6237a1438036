"""The tables of both stores, as numbered SQL steps that alembic applies in order."""
