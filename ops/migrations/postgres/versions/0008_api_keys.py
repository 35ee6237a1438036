"""Who may use the gateway: API keys as digests. The pepper that the digests need is not in the database."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLE = """
CREATE TABLE api_keys (
    key_id         text        PRIMARY KEY CHECK (key_id ~ '^[a-z0-9]{12}$'),
    digest         bytea       NOT NULL CHECK (octet_length(digest) = 32),
    tenant         text        NOT NULL,
    name           text        NOT NULL,
    scopes         text[]      NOT NULL CHECK (scopes <@ ARRAY['submit', 'read', 'admin'] AND scopes <> '{}'),
    allowed_models text[],
    quotas         jsonb       NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    revoked_at     timestamptz,
    replaced_by    text
)
"""
OF_TENANT = "CREATE INDEX api_keys_tenant ON api_keys (tenant, created_at DESC)"


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(OF_TENANT)


def downgrade() -> None:
    op.execute("DROP TABLE api_keys")
