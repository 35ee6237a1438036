"""One row per request, from accepted to answered.

Partitioned by month on the id itself: a version 7 UUID starts with its time, so a lookup by id touches one partition.
The primary key holds the tenant too, so that no tenant can take, hide or overwrite another's id.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLE = """
CREATE TABLE requests (
    request_id         uuid        NOT NULL,
    tenant             text        NOT NULL,
    department         text,
    user_id            text,
    application        text,
    labels             jsonb       NOT NULL DEFAULT '{}',
    template           text,
    lane               text,
    status             text        NOT NULL,
    accepted_at        timestamptz NOT NULL,
    started_at         timestamptz,
    completed_at       timestamptz,
    queue_ms           bigint,
    model_ms           bigint,
    source             text,
    model              text,
    input_tokens       bigint,
    output_tokens      bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    cost_usd           numeric,
    saved_usd          numeric,
    attempts           bigint,
    paid_by            uuid,
    fingerprint        text,
    error_code         text,
    error_message      text,
    answer             text,
    stop_reason        text,
    updated_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, tenant)
) PARTITION BY RANGE (request_id)
"""

# Nothing that is written twice per request is worth more than these; each costs every insert.
INDEXES = (
    "CREATE INDEX requests_by_user ON requests (tenant, user_id, accepted_at DESC)",
    "CREATE INDEX requests_pending ON requests (status, accepted_at) WHERE status = 'pending'",
    """CREATE INDEX requests_by_device ON requests (tenant, (labels ->> 'device_name'), accepted_at DESC)
       WHERE (labels ->> 'device_name') IS NOT NULL""",
)


def upgrade() -> None:
    op.execute(TABLE)
    for index in INDEXES:
        op.execute(index)
    op.execute("CREATE TABLE requests_default PARTITION OF requests DEFAULT")


def downgrade() -> None:
    op.execute("DROP TABLE requests")
