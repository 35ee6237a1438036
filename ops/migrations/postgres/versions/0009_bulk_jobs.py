"""Bulk jobs: how far each upload has come, so that a cut one can go on, and which of its items were refused.

The lines themselves are rows of `requests`: a job's ids lie in one range of its primary key.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

JOBS = """
CREATE TABLE bulk_jobs (
    job          uuid PRIMARY KEY,
    tenant       text        NOT NULL,
    client_key   bytea,
    state        text        NOT NULL DEFAULT 'open',
    items        integer     NOT NULL DEFAULT 0,
    accepted     integer     NOT NULL DEFAULT 0,
    rejected     integer     NOT NULL DEFAULT 0,
    content      bytea       NOT NULL DEFAULT '',
    epoch        bigint      NOT NULL DEFAULT 1,
    alive_until  timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    sealed_at    timestamptz,
    cancelled_at timestamptz,
    CHECK (state IN ('open', 'sealed', 'cancelled'))
) WITH (fillfactor = 50)
"""
INDEXES = (
    "CREATE UNIQUE INDEX bulk_jobs_by_client_key ON bulk_jobs (tenant, client_key) WHERE client_key IS NOT NULL",
    "CREATE INDEX bulk_jobs_by_tenant ON bulk_jobs (tenant, job DESC)",
)
REJECTIONS = """
CREATE TABLE bulk_rejections (
    job    uuid    NOT NULL REFERENCES bulk_jobs ON DELETE CASCADE,
    item   integer NOT NULL,
    line   integer NOT NULL,
    reason text    NOT NULL,
    PRIMARY KEY (job, item)
)
"""


def upgrade() -> None:
    op.execute(JOBS)
    for index in INDEXES:
        op.execute(index)
    op.execute(REJECTIONS)


def downgrade() -> None:
    op.execute("DROP TABLE bulk_rejections, bulk_jobs")
