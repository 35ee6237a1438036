"""Which dead letters were put back on their topic, so that none is put back twice.

The letter's own time is part of its name: a topic that was made anew counts its offsets from zero again.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLE = """
CREATE TABLE dead_letter_redrives (
    letter_partition    integer     NOT NULL,
    letter_offset       bigint      NOT NULL,
    letter_timestamp_ms bigint      NOT NULL,
    begun_at            timestamptz NOT NULL DEFAULT now(),
    confirmed_at        timestamptz,
    PRIMARY KEY (letter_partition, letter_offset, letter_timestamp_ms)
)
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE dead_letter_redrives")
