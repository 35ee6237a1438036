"""Budgets: how much a tenant, a department or a user may spend in a day or a month, counted from the ledger's calls.

A call on record *is* the reservation: one that was sent counts at what it may cost at most, an answered one at its
cost, one of unknown end stays at risk. Whatever changes a call's state changes the counters in the same transaction.

Locks are taken in one order by everybody: the shared advisory lock, ledger rows by key, refusals, budgets by key.
Budgets come last and are held until the commit, so a batch that waits for one holds up nobody it waits for.
"""

from importlib import import_module

from alembic import op

revision = "0005"
down_revision = "0004"

PLANNED = "SET enable_seqscan = off"
# Taken shared by every batch; alone by whoever adds a budget or counts anew, so that no call is counted twice or never.
TURN = "pg_advisory_xact_lock_shared(4990254402181190733)"
SCOPES = "(VALUES ('tenant', ''), ('department', {0}.department), ('user', {0}.user_id)) AS s(scope, name)"
OF_BUDGET = "b.tenant = {0}.tenant AND b.scope = s.scope AND b.name = s.name"

# One row is the limit and its counters of the running period: what is checked and what changes are locked as one.
BUDGETS = """
CREATE TABLE budgets (
    tenant       text COLLATE "C" NOT NULL,
    scope        text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    period       text COLLATE "C" NOT NULL,
    soft_usd     numeric,
    hard_usd     numeric,
    starts_at    timestamptz NOT NULL,
    spent_usd    numeric NOT NULL DEFAULT 0,
    at_risk_usd  numeric NOT NULL DEFAULT 0,
    reserved_usd numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, scope, name, period),
    CHECK (scope IN ('tenant', 'department', 'user') AND (scope = 'tenant') = (name = '')),
    CHECK (period IN ('day', 'month')),
    CHECK (coalesce(soft_usd, hard_usd) IS NOT NULL AND soft_usd >= 0 AND hard_usd >= 0)
) WITH (fillfactor = 50)
"""
# A refused request that is delivered again is refused again, whatever its budget allows by then (invariant A).
REFUSALS = """
CREATE TABLE budget_refusals (
    tenant     text COLLATE "C" NOT NULL,
    request_id uuid        NOT NULL,
    budget     jsonb       NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, request_id)
)
"""
COLUMNS = "ALTER TABLE ledger_calls ADD COLUMN department text, ADD COLUMN user_id text"
TYPES = (
    """
CREATE TYPE budget_entry AS (
    tenant text, department text, user_id text, sent_at timestamptz,
    spent_usd numeric, at_risk_usd numeric, reserved_usd numeric
)
""",
    "CREATE TYPE budget_bar AS (n integer, on_record boolean, used_up boolean, budget jsonb)",
)

STARTS = """
CREATE FUNCTION budget_starts_at(p_period text, p_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT date_trunc(p_period, p_at, 'UTC')
$$
"""
RESETS = """
CREATE FUNCTION budget_resets_at(p_period text, p_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT (date_trunc(p_period, p_at AT TIME ZONE 'UTC') + ('1 ' || p_period)::interval) AT TIME ZONE 'UTC'
$$
"""
# What a call counts in its state: taken off with sign -1 before a change, put on with 1 after it.
ENTRY = """
CREATE FUNCTION budget_entry_of(c ledger_calls, p_sign integer) RETURNS budget_entry LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(
        c.tenant, c.department, c.user_id, c.sent_at,
        CASE WHEN c.state IN ('answered', 'late') THEN p_sign * coalesce(c.cost_usd, c.reserved_usd, 0) ELSE 0 END,
        CASE WHEN c.state = 'ambiguous' THEN p_sign * coalesce(c.reserved_usd, 0) ELSE 0 END,
        CASE WHEN c.state = 'sent' THEN p_sign * coalesce(c.reserved_usd, 0) ELSE 0 END
    )::budget_entry
$$
"""
LOCK = f"""
CREATE FUNCTION budget_lock(p_entries budget_entry[]) RETURNS void LANGUAGE plpgsql {PLANNED} AS $$
BEGIN
    PERFORM FROM (
        SELECT DISTINCT e.tenant, s.scope, s.name FROM unnest(p_entries) e CROSS JOIN LATERAL {SCOPES.format("e")}
    ) s JOIN budgets b ON {OF_BUDGET.format("s")}
    ORDER BY b.tenant, b.scope, b.name, b.period FOR UPDATE OF b;
END $$
"""  # noqa: S608 - no value in it
# An entry of a period that is over changes nothing: its counters are gone.
APPLY = f"""
CREATE FUNCTION budget_apply(p_entries budget_entry[]) RETURNS void LANGUAGE plpgsql {PLANNED} AS $$
BEGIN
    IF cardinality(p_entries) = 0 OR NOT EXISTS (SELECT FROM budgets) THEN
        RETURN;
    END IF;
    PERFORM budget_lock(p_entries);
    UPDATE budgets b SET
        spent_usd = b.spent_usd + d.spent_usd, at_risk_usd = b.at_risk_usd + d.at_risk_usd,
        reserved_usd = b.reserved_usd + d.reserved_usd
    FROM (
        SELECT b.tenant, b.scope, b.name, b.period, sum(e.spent_usd) AS spent_usd,
            sum(e.at_risk_usd) AS at_risk_usd, sum(e.reserved_usd) AS reserved_usd
        FROM unnest(p_entries) e CROSS JOIN LATERAL {SCOPES.format("e")} JOIN budgets b ON {OF_BUDGET.format("e")}
        WHERE e.sent_at >= b.starts_at GROUP BY b.tenant, b.scope, b.name, b.period
    ) d
    WHERE b.tenant = d.tenant AND b.scope = d.scope AND b.name = d.name AND b.period = d.period
        AND (d.spent_usd, d.at_risk_usd, d.reserved_usd) <> (0, 0, 0);
END $$
"""  # noqa: S608 - no value in it
# Which wishes may not be claimed: refused before, or one of their budgets is full. It looks and locks nothing: what
# binds is the mark before the call.
BARS = f"""
CREATE FUNCTION budget_bars(p_wishes json) RETURNS budget_bar[] LANGUAGE plpgsql {PLANNED} AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM budgets) AND NOT EXISTS (SELECT FROM budget_refusals) THEN
        RETURN '{{}}';
    END IF;
    RETURN ARRAY(
        WITH wishes AS (
            SELECT * FROM json_to_recordset(p_wishes)
                AS w(n integer, tenant text, request_id uuid, department text, user_id text, patient boolean)
        ), askers AS (
            SELECT DISTINCT tenant, department, user_id FROM wishes
        ), counted AS (
            SELECT a.*, b.scope, b.period, b.hard_usd, budget_resets_at(b.period, clock_timestamp()) AS resets_at, c.*
            FROM askers a CROSS JOIN LATERAL {SCOPES.format("a")} JOIN budgets b ON {OF_BUDGET.format("a")}
            CROSS JOIN LATERAL (
                SELECT b.spent_usd, b.at_risk_usd, b.reserved_usd
                WHERE b.starts_at >= budget_starts_at(b.period, clock_timestamp())
                UNION ALL
                SELECT 0, 0, 0 WHERE b.starts_at < budget_starts_at(b.period, clock_timestamp())
            ) c
            WHERE b.hard_usd IS NOT NULL
        ), full_ones AS (
            SELECT DISTINCT ON (tenant, department, user_id) tenant, department, user_id,
                spent_usd + at_risk_usd >= hard_usd AS used_up,
                jsonb_build_object('scope', scope, 'period', period, 'hard_usd', hard_usd::text,
                    'spent_usd', spent_usd::text, 'at_risk_usd', at_risk_usd::text,
                    'reserved_usd', reserved_usd::text, 'resets_at', extract(epoch FROM resets_at)::bigint) AS budget
            FROM counted WHERE spent_usd + at_risk_usd + reserved_usd >= hard_usd
            ORDER BY tenant, department, user_id, used_up DESC, resets_at DESC, scope
        )
        SELECT ROW(w.n, r.budget IS NOT NULL, r.budget IS NOT NULL OR f.used_up OR NOT coalesce(w.patient, true),
            coalesce(r.budget, f.budget))::budget_bar
        FROM wishes w
        LEFT JOIN budget_refusals r ON r.tenant = w.tenant AND r.request_id = w.request_id
        LEFT JOIN full_ones f ON f.tenant = w.tenant AND f.department IS NOT DISTINCT FROM w.department
            AND f.user_id IS NOT DISTINCT FROM w.user_id
        WHERE r.budget IS NOT NULL OR f.budget IS NOT NULL
    );
END $$
"""  # noqa: S608 - no value in it
# Which calls may not be sent: before each there must be something left, those before it in this batch taken off. So a
# budget is passed by less than one reservation.
FULL = f"""
CREATE FUNCTION budget_full(p_sendings json) RETURNS uuid[] LANGUAGE plpgsql {PLANNED} AS $$
DECLARE
    v_entries budget_entry[];
BEGIN
    SELECT array_agg(ROW(g.tenant, g.department, g.user_id, NULL, 0, 0, 0)::budget_entry) INTO v_entries
    FROM json_to_recordset(p_sendings) AS g(tenant text, department text, user_id text);
    PERFORM budget_lock(v_entries);
    UPDATE budgets b SET
        starts_at = budget_starts_at(b.period, clock_timestamp()), spent_usd = 0, at_risk_usd = 0, reserved_usd = 0
    FROM (SELECT DISTINCT e.tenant, s.scope, s.name FROM unnest(v_entries) e CROSS JOIN LATERAL {SCOPES.format("e")}) s
    WHERE {OF_BUDGET.format("s")} AND b.starts_at < budget_starts_at(b.period, clock_timestamp());
    RETURN ARRAY(
        SELECT DISTINCT w.call_id FROM (
            SELECT g.call_id, b.hard_usd, b.spent_usd + b.at_risk_usd + b.reserved_usd + coalesce(
                sum(g.reserved_usd) OVER (
                    PARTITION BY b.tenant, b.scope, b.name, b.period ORDER BY g.key COLLATE "C", g.call_id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), 0) AS taken_usd
            FROM json_to_recordset(p_sendings)
                AS g(key text, call_id uuid, tenant text, department text, user_id text, reserved_usd numeric)
            CROSS JOIN LATERAL {SCOPES.format("g")} JOIN budgets b ON {OF_BUDGET.format("g")}
            WHERE b.hard_usd IS NOT NULL
        ) w WHERE w.taken_usd >= w.hard_usd
    );
END $$
"""  # noqa: S608 - no value in it

# As before, and: a wish whose budget is full makes and takes no row. It may still be served, or wait for another's.
CLAIM = f"""
CREATE OR REPLACE FUNCTION ledger_claim(p_owner text, p_wishes json) RETURNS TABLE (
    n integer, verdict text, epoch bigint, attempts integer, ambiguous integer,
    owner text, answer bytea, error jsonb, newly_ambiguous boolean
) LANGUAGE plpgsql {PLANNED} AS $$
#variable_conflict use_column
DECLARE
    v_new integer[];
    v_new_keys text[];
    v_bars budget_bar[];
    v_bar text;
    v_wish record;
    v_row ledger;
    v_call ledger_calls;
    v_entries budget_entry[] := '{{}}';
    v_refused integer[] := '{{}}';
BEGIN
    PERFORM {TURN};
    v_bars := budget_bars(p_wishes);
    WITH wanted AS (
        SELECT DISTINCT ON (w.key COLLATE "C") w.* FROM json_to_recordset(p_wishes)
            AS w(n integer, key text, tenant text, request_id uuid)
        WHERE NOT EXISTS (SELECT FROM unnest(v_bars) b WHERE b.n = w.n) ORDER BY w.key COLLATE "C", w.n
    ), made AS (
        INSERT INTO ledger (key, tenant, state, owner, epoch, request_id, claimed_at)
        SELECT w.key, w.tenant, 'claimed', p_owner, 1, w.request_id, clock_timestamp()
        FROM wanted w ORDER BY w.key COLLATE "C"
        ON CONFLICT (key) DO NOTHING RETURNING key
    )
    SELECT coalesce(array_agg(w.n), '{{}}'), coalesce(array_agg(w.key), '{{}}') INTO v_new, v_new_keys
    FROM made JOIN wanted w ON w.key = made.key;
    FOR v_wish IN
        SELECT w.*, made.n AS maker, b.on_record, b.used_up, b.budget FROM json_to_recordset(p_wishes)
            AS w(n integer, key text, tenant text, request_id uuid, refresh boolean, retry boolean)
            LEFT JOIN unnest(v_new, v_new_keys) AS made(n, key) ON made.key = w.key
            LEFT JOIN unnest(v_bars) b ON b.n = w.n
        ORDER BY w.key COLLATE "C", w.n
    LOOP
        n := v_wish.n; epoch := 1; attempts := 0; ambiguous := 0;
        owner := p_owner; answer := NULL; error := NULL; newly_ambiguous := false;
        v_bar := CASE WHEN v_wish.budget IS NULL THEN NULL WHEN v_wish.used_up THEN 'refused' ELSE 'crowded' END;
        IF v_wish.maker IS NOT NULL AND NOT coalesce(v_wish.on_record, false) THEN
            verdict := CASE WHEN v_wish.maker = v_wish.n THEN 'claimed' ELSE 'held' END;
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT * INTO v_row FROM ledger l WHERE l.key = v_wish.key;
        verdict := ledger_verdict(v_row, p_owner, v_wish.request_id, v_wish.refresh);
        IF v_wish.on_record AND v_row.paid_by IS DISTINCT FROM v_wish.request_id THEN
            verdict := 'refused';
        ELSIF verdict IS NULL AND v_bar IS NOT NULL AND v_row.state IS DISTINCT FROM 'sent' THEN
            verdict := budget_bar_verdict(v_row, v_wish.retry, v_bar);
        ELSIF verdict IS NULL THEN
            SELECT * INTO v_row FROM ledger l WHERE l.key = v_wish.key FOR UPDATE;
            verdict := ledger_verdict(v_row, p_owner, v_wish.request_id, v_wish.refresh);
            IF verdict IS NULL AND v_bar IS NOT NULL AND v_row.state IS DISTINCT FROM 'sent' THEN
                verdict := budget_bar_verdict(v_row, v_wish.retry, v_bar);
            END IF;
        END IF;
        IF verdict IS NULL AND v_row.key IS NULL THEN
            verdict := 'held';  -- pruned this moment: ask again
        ELSIF verdict IS NULL THEN
            v_call := NULL;
            IF v_row.state = 'sent' THEN
                SELECT * INTO v_call FROM ledger_calls c WHERE c.call_id = v_row.call_id FOR UPDATE;
            END IF;
            -- Under a full budget only a call that was lost sight of is put on record.
            SELECT t.* INTO verdict, epoch, attempts, ambiguous, newly_ambiguous
            FROM ledger_take(v_row, p_owner, v_wish.request_id, v_wish.retry AND v_bar IS NULL) t;
            IF v_call.call_id IS NOT NULL THEN
                v_entries := v_entries || budget_entry_of(v_call, -1);
                SELECT * INTO v_call FROM ledger_calls c WHERE c.call_id = v_row.call_id;
                v_entries := v_entries || budget_entry_of(v_call, 1);
            END IF;
            IF v_bar IS NOT NULL AND v_wish.retry AND ambiguous <= 1 THEN
                verdict := v_bar;
            END IF;
        ELSE
            attempts := v_row.attempts;
            ambiguous := CASE WHEN verdict = 'unknown' THEN v_row.ambiguous ELSE 0 END;
            owner := v_row.owner;
            answer := CASE WHEN verdict = 'known' THEN v_row.answer END;
            error := CASE WHEN verdict = 'ended' THEN v_row.error END;
        END IF;
        IF verdict = 'refused' THEN
            error := v_wish.budget;
            v_refused := v_refused || v_wish.n;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF cardinality(v_refused) > 0 THEN
        INSERT INTO budget_refusals
        SELECT DISTINCT ON (w.tenant COLLATE "C", w.request_id) w.tenant, w.request_id, b.budget, clock_timestamp()
        FROM json_to_recordset(p_wishes) AS w(n integer, tenant text, request_id uuid)
            JOIN unnest(v_bars) b ON b.n = w.n
        WHERE w.n = ANY (v_refused) ORDER BY w.tenant COLLATE "C", w.request_id
        ON CONFLICT DO NOTHING;
    END IF;
    PERFORM budget_apply(v_entries);
END $$
"""  # noqa: S608 - no value in it
# A key whose calls came to an unknown end, none of which may follow, ends so with or without a budget.
BAR_VERDICT = """
CREATE FUNCTION budget_bar_verdict(p_row ledger, p_retry boolean, p_bar text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_row.state = 'unknown' AND NOT (p_retry AND p_row.ambiguous <= 1) THEN 'unknown' ELSE p_bar END
$$
"""
# As before, and: a call whose budget is full gives its claim back in place of being marked; who asks again hears why.
MARK_SENT = f"""
CREATE OR REPLACE FUNCTION ledger_mark_sent(p_sendings json) RETURNS uuid[] LANGUAGE plpgsql {PLANNED} AS $$
DECLARE
    v_marked uuid[] := '{{}}';
    v_full uuid[] := '{{}}';
    v_given record;
    v_call ledger_calls;
    v_entries budget_entry[] := '{{}}';
    v_now timestamptz;
BEGIN
    PERFORM {TURN};
    IF EXISTS (SELECT FROM budgets) THEN
        PERFORM FROM ledger l WHERE l.key = ANY (
            ARRAY(SELECT g.key FROM json_to_recordset(p_sendings) AS g(key text))
        ) ORDER BY l.key FOR UPDATE;
        v_full := budget_full(p_sendings);
    END IF;
    v_now := clock_timestamp();
    FOR v_given IN
        SELECT * FROM json_to_recordset(p_sendings) AS g(key text, epoch bigint, call_id uuid, request_id uuid,
            tenant text, model text, reserved_usd numeric, department text, user_id text)
        ORDER BY g.key COLLATE "C"
    LOOP
        IF v_given.call_id = ANY (v_full) THEN
            UPDATE ledger l SET state = 'released', settled_at = v_now
            WHERE l.key = v_given.key AND l.epoch = v_given.epoch AND l.state = 'claimed';
            CONTINUE WHEN FOUND;
        END IF;
        UPDATE ledger l SET
            state = 'sent', call_id = v_given.call_id, reserved_usd = v_given.reserved_usd, sent_at = v_now
        WHERE l.key = v_given.key AND l.epoch = v_given.epoch
            AND (l.state = 'claimed' OR (l.state = 'sent' AND l.call_id = v_given.call_id));
        CONTINUE WHEN NOT FOUND;
        INSERT INTO ledger_calls (call_id, key, epoch, request_id, tenant, model, state, reserved_usd, sent_at,
            department, user_id)
        VALUES (v_given.call_id, v_given.key, v_given.epoch, v_given.request_id, v_given.tenant, v_given.model, 'sent',
            v_given.reserved_usd, v_now, v_given.department, v_given.user_id)
        ON CONFLICT (call_id) DO NOTHING RETURNING * INTO v_call;
        IF FOUND THEN
            v_entries := v_entries || budget_entry_of(v_call, 1);
        END IF;
        v_marked := v_marked || v_given.call_id;
    END LOOP;
    PERFORM budget_apply(v_entries);
    RETURN v_marked;
END $$
"""  # noqa: S608 - no value in it
# As before, and: what a call counted in its old state is taken off, what it counts in the new one put on.
SETTLE = f"""
CREATE OR REPLACE FUNCTION ledger_settle(p_settlements json, p_answers bytea[]) RETURNS integer[]
LANGUAGE plpgsql {PLANNED} AS $$
DECLARE
    v_settled integer[] := '{{}}';
    v_given record;
    v_call uuid;
    v_ours boolean;
    v_old ledger_calls;
    v_now ledger_calls;
    v_budgeted boolean;
    v_entries budget_entry[] := '{{}}';
BEGIN
    PERFORM {TURN};
    v_budgeted := EXISTS (SELECT FROM budgets);
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
        IF v_budgeted THEN
            SELECT * INTO v_old FROM ledger_calls c
            WHERE c.call_id = coalesce(v_given.call_id, v_call) AND c.state IN ('sent', 'ambiguous') FOR UPDATE;
        END IF;
        UPDATE ledger_calls c SET
            state = CASE v_given.outcome WHEN 'unknown' THEN 'ambiguous' WHEN 'answered' THEN
                CASE WHEN v_ours THEN 'answered' ELSE 'late' END ELSE 'not_paid' END,
            settled_at = clock_timestamp(), cost_usd = v_given.cost_usd, input_tokens = v_given.input_tokens,
            output_tokens = v_given.output_tokens, cache_read_tokens = v_given.cache_read_tokens,
            cache_write_tokens = v_given.cache_write_tokens
        WHERE c.call_id = coalesce(v_given.call_id, v_call) AND c.state IN ('sent', 'ambiguous')
        RETURNING * INTO v_now;
        IF v_budgeted AND FOUND THEN
            v_entries := v_entries || budget_entry_of(v_old, -1) || budget_entry_of(v_now, 1);
        END IF;
    END LOOP;
    PERFORM budget_apply(v_entries);
    RETURN v_settled;
END $$
"""  # noqa: S608 - no value in it

FUNCTIONS = (STARTS, RESETS, ENTRY, LOCK, APPLY, BARS, FULL, BAR_VERDICT, CLAIM, MARK_SENT, SETTLE)


def upgrade() -> None:
    # Straight to the driver: SQLAlchemy would take `:name` in a body for a parameter.
    for statement in (BUDGETS, REFUSALS, COLUMNS, *TYPES, *FUNCTIONS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    before = import_module("ops.migrations.postgres.versions.0002_ledger")
    for function in ("ledger_settle", "ledger_mark_sent", "ledger_claim"):
        op.execute(f"DROP FUNCTION {function}")
    for statement in (before.CLAIM, before.MARK_SENT, before.SETTLE):
        op.get_bind().exec_driver_sql(statement)
    for name in ("bar_verdict", "full", "bars", "apply", "lock", "entry_of", "resets_at", "starts_at"):
        op.execute(f"DROP FUNCTION budget_{name}")
    op.execute("DROP TYPE budget_bar, budget_entry")
    op.execute("ALTER TABLE ledger_calls DROP COLUMN department, DROP COLUMN user_id")
    op.execute("DROP TABLE budget_refusals, budgets")
