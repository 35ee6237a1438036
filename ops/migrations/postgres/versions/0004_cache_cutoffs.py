"""Since when answers of a group of requests are good: what `headrace cache invalidate` writes and every worker reads.

A moment per group, not a mark per answer: one row changes, however many answers it makes stale, in every tier.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLE = """
CREATE TABLE cache_cutoffs (
    group_name  text PRIMARY KEY,
    fresh_since timestamptz NOT NULL
)
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE cache_cutoffs")
