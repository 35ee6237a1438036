"""The ledger: who may call the model for a key, what was sent, what was paid.

One row per request key, one per call ever sent, one per owner. Each operation is one function over many records: one
round trip, rows locked in the order of their keys, right under READ COMMITTED and behind PgBouncer. The rules are
those of `streams/ledger/port.py`; the in-memory ledger is the same in Python, held by the same tests.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

# Written three times a key: room on the page keeps those writes off the indexes. "C" orders as Python orders.
LEDGER = """
CREATE TABLE ledger (
    key                text COLLATE "C" PRIMARY KEY,
    tenant             text        NOT NULL,
    state              text        NOT NULL,
    owner              text        NOT NULL,
    epoch              bigint      NOT NULL,
    attempts           integer     NOT NULL DEFAULT 0,
    ambiguous          integer     NOT NULL DEFAULT 0,
    request_id         uuid        NOT NULL,
    call_id            uuid,
    reserved_usd       numeric,
    answer             bytea,
    input_tokens       bigint,
    output_tokens      bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    cost_usd           numeric,
    paid_by            uuid,
    error              jsonb,
    claimed_at         timestamptz NOT NULL,
    sent_at            timestamptz,
    settled_at         timestamptz,
    expires_at         timestamptz,
    CHECK (state IN ('claimed', 'sent', 'answered', 'released', 'ended', 'unknown'))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05)
"""
CALLS = """
CREATE TABLE ledger_calls (
    call_id            uuid PRIMARY KEY,
    key                text COLLATE "C" NOT NULL,
    epoch              bigint      NOT NULL,
    request_id         uuid        NOT NULL,
    tenant             text        NOT NULL,
    model              text        NOT NULL,
    state              text        NOT NULL,
    reserved_usd       numeric,
    input_tokens       bigint,
    output_tokens      bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    cost_usd           numeric,
    sent_at            timestamptz NOT NULL,
    settled_at         timestamptz,
    CHECK (state IN ('sent', 'answered', 'late', 'ambiguous', 'not_paid'))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)
"""
OWNERS = """
CREATE TABLE ledger_owners (owner text PRIMARY KEY, alive_until timestamptz NOT NULL) WITH (fillfactor = 50)
"""
# Block ranges cost a write next to nothing, and do not keep it from staying on its page.
INDEXES = (
    "CREATE INDEX ledger_by_settled ON ledger USING brin (settled_at) WITH (pages_per_range = 32)",
    "CREATE INDEX ledger_calls_by_sent ON ledger_calls USING brin (sent_at) WITH (pages_per_range = 32)",
    "CREATE INDEX ledger_calls_by_key ON ledger_calls (key)",
    "CREATE INDEX ledger_calls_by_request ON ledger_calls (request_id)",
)

# A plan made while the tables were empty must not read them whole when they are not. Rows are written one by one, each
# found by its key, for the same reason: a join of a batch with a table may be planned either way round.
PLANNED = "SET enable_seqscan = off"

KNOWN = """
CREATE FUNCTION ledger_verdict(
    p_row ledger, p_owner text, p_request uuid, p_refresh boolean
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF p_row.answer IS NOT NULL
       AND (p_row.paid_by = p_request OR (p_row.expires_at > clock_timestamp() AND NOT p_refresh)) THEN
        RETURN 'known';
    ELSIF p_row.state = 'ended' AND p_row.request_id = p_request THEN
        RETURN 'ended';
    ELSIF p_row.state IN ('claimed', 'sent') AND (p_row.owner = p_owner OR EXISTS (
        SELECT FROM ledger_owners o WHERE o.owner = p_row.owner AND o.alive_until > clock_timestamp()
    )) THEN
        RETURN 'held';
    END IF;
    RETURN NULL;
END $$
"""
# Most wishes are for new keys: one insert serves them all. The others are judged unlocked first, so that hundreds who
# wait for one answer lock nothing.
CLAIM = f"""
CREATE FUNCTION ledger_claim(p_owner text, p_wishes json) RETURNS TABLE (
    n integer, verdict text, epoch bigint, attempts integer, ambiguous integer,
    owner text, answer bytea, error jsonb, newly_ambiguous boolean
) LANGUAGE plpgsql {PLANNED} AS $$
#variable_conflict use_column
DECLARE
    v_new text[];
    v_wish record;
    v_row ledger;
BEGIN
    WITH made AS (
        INSERT INTO ledger (key, tenant, state, owner, epoch, request_id, claimed_at)
        SELECT w.key, w.tenant, 'claimed', p_owner, 1, w.request_id, clock_timestamp()
        FROM json_to_recordset(p_wishes) AS w(n integer, key text, tenant text, request_id uuid, first boolean)
        WHERE w.first ORDER BY w.key COLLATE "C"
        ON CONFLICT (key) DO NOTHING RETURNING key
    )
    SELECT coalesce(array_agg(key), '{{}}') INTO v_new FROM made;
    FOR v_wish IN
        SELECT w.*, made.key IS NOT NULL AS new FROM json_to_recordset(p_wishes)
            AS w(n integer, key text, tenant text, request_id uuid, first boolean, refresh boolean, retry boolean)
            LEFT JOIN unnest(v_new) AS made(key) ON made.key = w.key
        ORDER BY w.key COLLATE "C", w.n
    LOOP
        n := v_wish.n; epoch := 1; attempts := 0; ambiguous := 0;
        owner := p_owner; answer := NULL; error := NULL; newly_ambiguous := false;
        IF v_wish.new THEN
            verdict := CASE WHEN v_wish.first THEN 'claimed' ELSE 'held' END;
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT * INTO v_row FROM ledger l WHERE l.key = v_wish.key;
        verdict := ledger_verdict(v_row, p_owner, v_wish.request_id, v_wish.refresh);
        IF verdict IS NULL THEN
            SELECT * INTO v_row FROM ledger l WHERE l.key = v_wish.key FOR UPDATE;
            verdict := ledger_verdict(v_row, p_owner, v_wish.request_id, v_wish.refresh);
        END IF;
        IF v_row.key IS NULL THEN
            verdict := 'held';  -- pruned this moment: ask again
        ELSIF verdict IS NULL THEN
            SELECT t.* INTO verdict, epoch, attempts, ambiguous, newly_ambiguous
            FROM ledger_take(v_row, p_owner, v_wish.request_id, v_wish.retry) t;
        ELSE
            attempts := v_row.attempts;
            owner := v_row.owner;
            answer := CASE WHEN verdict = 'known' THEN v_row.answer END;
            error := CASE WHEN verdict = 'ended' THEN v_row.error END;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""  # noqa: S608 - no value in it
TAKE = """
CREATE FUNCTION ledger_take(
    p_row ledger, p_owner text, p_request uuid, p_retry boolean,
    OUT verdict text, OUT epoch bigint, OUT attempts integer, OUT ambiguous integer, OUT newly_ambiguous boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_ended boolean := p_row.state IN ('answered', 'ended');
BEGIN
    newly_ambiguous := p_row.state = 'sent';
    epoch := p_row.epoch;
    attempts := CASE WHEN v_ended THEN 0 ELSE p_row.attempts END;
    ambiguous := CASE WHEN v_ended THEN 0 ELSE p_row.ambiguous + newly_ambiguous::integer END;
    verdict := 'claimed';
    IF newly_ambiguous THEN
        UPDATE ledger_calls c SET state = 'ambiguous', settled_at = clock_timestamp()
        WHERE c.call_id = p_row.call_id AND c.state = 'sent';
    END IF;
    IF p_row.state IN ('sent', 'unknown') AND NOT (p_retry AND ambiguous <= 1) THEN
        verdict := 'unknown';
        IF newly_ambiguous THEN
            UPDATE ledger l SET state = 'unknown', ambiguous = ledger_take.ambiguous, settled_at = clock_timestamp()
            WHERE l.key = p_row.key;
        END IF;
        RETURN;
    END IF;
    epoch := epoch + 1;
    -- The last answer stays until a newer one takes its place: whoever paid for it gets it again.
    UPDATE ledger l SET
        state = 'claimed', owner = p_owner, epoch = ledger_take.epoch, attempts = ledger_take.attempts,
        ambiguous = ledger_take.ambiguous, request_id = p_request, call_id = NULL, reserved_usd = NULL, error = NULL,
        claimed_at = clock_timestamp(), sent_at = NULL, settled_at = NULL
    WHERE l.key = p_row.key;
END $$
"""
# Returns the calls that may be made.
MARK_SENT = f"""
CREATE FUNCTION ledger_mark_sent(p_sendings json) RETURNS uuid[] LANGUAGE plpgsql {PLANNED} AS $$
DECLARE
    v_marked uuid[] := '{{}}';
    v_given record;
BEGIN
    FOR v_given IN
        SELECT * FROM json_to_recordset(p_sendings) AS g(key text, epoch bigint, call_id uuid, request_id uuid,
            tenant text, model text, reserved_usd numeric)
        ORDER BY g.key COLLATE "C"
    LOOP
        UPDATE ledger l SET
            state = 'sent', call_id = v_given.call_id, reserved_usd = v_given.reserved_usd, sent_at = clock_timestamp()
        WHERE l.key = v_given.key AND l.epoch = v_given.epoch
            AND (l.state = 'claimed' OR (l.state = 'sent' AND l.call_id = v_given.call_id));
        CONTINUE WHEN NOT FOUND;
        INSERT INTO ledger_calls (call_id, key, epoch, request_id, tenant, model, state, reserved_usd, sent_at)
        VALUES (v_given.call_id, v_given.key, v_given.epoch, v_given.request_id, v_given.tenant, v_given.model, 'sent',
            v_given.reserved_usd, clock_timestamp())
        ON CONFLICT (call_id) DO NOTHING;
        v_marked := v_marked || v_given.call_id;
    END LOOP;
    RETURN v_marked;
END $$
"""  # noqa: S608 - no value in it
# Returns the numbers of those that were settled, now or before. A fenced one leaves its mark on its call alone.
SETTLE = f"""
CREATE FUNCTION ledger_settle(p_settlements json, p_answers bytea[]) RETURNS integer[] LANGUAGE plpgsql {PLANNED} AS $$
DECLARE
    v_settled integer[] := '{{}}';
    v_given record;
    v_call uuid;
    v_ours boolean;
BEGIN
    FOR v_given IN
        SELECT * FROM ROWS FROM (
            json_to_recordset(p_settlements) AS (n integer, key text, epoch bigint, request_id uuid, outcome text,
                call_id uuid, input_tokens bigint, output_tokens bigint, cache_read_tokens bigint,
                cache_write_tokens bigint, cost_usd numeric, expires_at timestamptz, attempts integer, error jsonb),
            unnest(p_answers)
        ) AS g(n, key, epoch, request_id, outcome, call_id, input_tokens, output_tokens, cache_read_tokens,
            cache_write_tokens, cost_usd, expires_at, attempts, error, answer)
        ORDER BY g.key COLLATE "C", g.n
    LOOP
        IF v_given.outcome = 'answered' THEN
            UPDATE ledger l SET
                state = 'answered', settled_at = clock_timestamp(), attempts = v_given.attempts, error = NULL,
                answer = v_given.answer, expires_at = v_given.expires_at, paid_by = v_given.request_id,
                cost_usd = v_given.cost_usd, input_tokens = v_given.input_tokens,
                output_tokens = v_given.output_tokens, cache_read_tokens = v_given.cache_read_tokens,
                cache_write_tokens = v_given.cache_write_tokens
            WHERE l.key = v_given.key AND l.epoch = v_given.epoch AND l.state IN ('claimed', 'sent')
            RETURNING l.call_id INTO v_call;
        ELSE
            UPDATE ledger l SET
                state = v_given.outcome, settled_at = clock_timestamp(), error = v_given.error,
                attempts = CASE v_given.outcome WHEN 'unknown' THEN greatest(l.attempts, v_given.attempts)
                    ELSE v_given.attempts END,
                ambiguous = l.ambiguous + (v_given.outcome = 'unknown')::integer
            WHERE l.key = v_given.key AND l.epoch = v_given.epoch AND l.state IN ('claimed', 'sent')
            RETURNING l.call_id INTO v_call;
        END IF;
        v_ours := FOUND;
        IF v_ours OR EXISTS (
            SELECT FROM ledger l WHERE l.key = v_given.key AND l.epoch = v_given.epoch AND l.state = v_given.outcome
        ) OR (v_given.outcome = 'answered' AND EXISTS (
            SELECT FROM ledger_calls c WHERE c.call_id = v_given.call_id AND c.state = 'answered'
        )) THEN
            v_settled := v_settled || v_given.n;
        END IF;
        UPDATE ledger_calls c SET
            state = CASE v_given.outcome WHEN 'unknown' THEN 'ambiguous' WHEN 'answered' THEN
                CASE WHEN v_ours THEN 'answered' ELSE 'late' END ELSE 'not_paid' END,
            settled_at = clock_timestamp(), cost_usd = v_given.cost_usd, input_tokens = v_given.input_tokens,
            output_tokens = v_given.output_tokens, cache_read_tokens = v_given.cache_read_tokens,
            cache_write_tokens = v_given.cache_write_tokens
        WHERE c.call_id = coalesce(v_given.call_id, v_call) AND c.state IN ('sent', 'ambiguous');
    END LOOP;
    RETURN v_settled;
END $$
"""  # noqa: S608 - no value in it


def upgrade() -> None:
    # Straight to the driver: SQLAlchemy would take `:name` in a body for a parameter.
    for statement in (LEDGER, CALLS, OWNERS, *INDEXES, KNOWN, TAKE, CLAIM, MARK_SENT, SETTLE):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for function in ("ledger_settle", "ledger_mark_sent", "ledger_claim", "ledger_take", "ledger_verdict"):
        op.execute(f"DROP FUNCTION {function}")
    for table in ("ledger_owners", "ledger_calls", "ledger"):
        op.execute(f"DROP TABLE {table}")
