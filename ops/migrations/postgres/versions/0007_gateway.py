"""What the gateway needs: the Idempotency-Keys of the last day, and an index for a tenant's list of requests.

Keys and bodies are stored as hashes. Both functions take many records in one round trip and lock rows in one order, as
the ledger's do. Marking a key as published may be lost in a crash: the repeat publishes again under the same id.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLE = """
CREATE TABLE idempotency_keys (
    tenant       text        NOT NULL,
    key_hash     bytea       NOT NULL,
    body_hash    bytea       NOT NULL,
    request_id   uuid        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('publishing', 'published')),
    leased_until timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, key_hash)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)
"""
INDEXES = (
    "CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys USING brin (expires_at) WITH (pages_per_range = 32)",
    # Each insert pays for it; without it a small tenant's list would read everybody's requests.
    "CREATE INDEX requests_by_tenant ON requests (tenant, accepted_at DESC)",
)
BEGIN = """
CREATE FUNCTION idempotency_begin(p_uses json, p_lease interval, p_lifetime interval)
RETURNS TABLE (n integer, verdict text, request_id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_use record;
    v_row idempotency_keys;
BEGIN
    FOR v_use IN
        SELECT u.n, u.tenant, decode(u.key, 'hex') AS key_hash, decode(u.body, 'hex') AS body_hash, u.request_id
        FROM json_to_recordset(p_uses) AS u(n integer, tenant text, key text, body text, request_id uuid)
        ORDER BY u.tenant COLLATE "C", u.key COLLATE "C", u.n
    LOOP
        n := v_use.n;
        INSERT INTO idempotency_keys AS k VALUES (
            v_use.tenant, v_use.key_hash, v_use.body_hash, v_use.request_id, 'publishing',
            clock_timestamp() + p_lease, clock_timestamp() + p_lifetime
        )
        ON CONFLICT (tenant, key_hash) DO UPDATE SET
            body_hash = EXCLUDED.body_hash,
            request_id = CASE WHEN k.expires_at <= clock_timestamp() THEN EXCLUDED.request_id ELSE k.request_id END,
            state = 'publishing', leased_until = EXCLUDED.leased_until,
            expires_at = CASE WHEN k.expires_at <= clock_timestamp() THEN EXCLUDED.expires_at ELSE k.expires_at END
        WHERE k.expires_at <= clock_timestamp()
            OR (k.state = 'publishing' AND k.body_hash = EXCLUDED.body_hash
                AND (k.leased_until <= clock_timestamp() OR k.request_id = EXCLUDED.request_id))
        RETURNING k.request_id INTO request_id;
        IF FOUND THEN
            verdict := 'begun';
        ELSE
            SELECT * INTO v_row FROM idempotency_keys k
            WHERE k.tenant = v_use.tenant AND k.key_hash = v_use.key_hash;
            request_id := coalesce(v_row.request_id, v_use.request_id);
            verdict := CASE WHEN v_row.body_hash <> v_use.body_hash THEN 'other_body'
                WHEN v_row.state = 'published' THEN 'repeated' ELSE 'busy' END;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""
# `outcome`: published; `open`, it may be published and a repeat may take over now; `forgotten`, it is not.
END = """
CREATE FUNCTION idempotency_end(p_uses json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_use record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_use IN
        SELECT u.tenant, decode(u.key, 'hex') AS key_hash, u.request_id, u.outcome
        FROM json_to_recordset(p_uses) AS u(tenant text, key text, request_id uuid, outcome text)
        ORDER BY u.tenant COLLATE "C", u.key COLLATE "C"
    LOOP
        IF v_use.outcome = 'forgotten' THEN
            DELETE FROM idempotency_keys k WHERE k.tenant = v_use.tenant AND k.key_hash = v_use.key_hash
                AND k.request_id = v_use.request_id AND k.state = 'publishing';
        ELSE
            UPDATE idempotency_keys k SET
                state = CASE v_use.outcome WHEN 'published' THEN 'published' ELSE k.state END,
                leased_until = CASE v_use.outcome WHEN 'open' THEN clock_timestamp() ELSE k.leased_until END
            WHERE k.tenant = v_use.tenant AND k.key_hash = v_use.key_hash AND k.request_id = v_use.request_id;
        END IF;
    END LOOP;
END $$
"""
# A function keeps its plan for the life of a connection, behind PgBouncer too: planning through all partitions took
# longer than the lookup. The plan is one for any id; partitions are chosen as it runs.
FIND = """
CREATE FUNCTION requests_find(p_ids uuid[], p_tenants text[])
RETURNS TABLE (n integer, stored requests, calls bigint, last text, last_sent_at timestamptz)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
BEGIN
    FOR i IN 1 .. cardinality(p_ids) LOOP
        n := i; calls := 0; last := NULL; last_sent_at := NULL;
        SELECT r.* INTO stored FROM requests r WHERE r.request_id = p_ids[i] AND r.tenant = p_tenants[i];
        IF coalesce(stored.status, 'pending') = 'pending' THEN
            SELECT count(*), (array_agg(k.state ORDER BY k.sent_at DESC))[1], max(k.sent_at)
            INTO calls, last, last_sent_at
            FROM ledger_calls k WHERE k.request_id = p_ids[i] AND k.tenant = p_tenants[i];
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""


def upgrade() -> None:
    # Straight to the driver: SQLAlchemy would take `:name` in a body for a parameter.
    for statement in (TABLE, *INDEXES, BEGIN, END, FIND):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for function in ("requests_find", "idempotency_end", "idempotency_begin"):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP INDEX requests_by_tenant")
    op.execute("DROP TABLE idempotency_keys")
