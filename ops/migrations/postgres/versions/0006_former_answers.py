"""Answers that a newer one took the place of, kept for those who paid for them: redelivered, each gets its own again.

Of 0002 only `ledger_verdict` is rewritten. A trigger moves an answer when another's is settled in its row, in the
same transaction; `ledger_ask` is `ledger_claim` with the bytes put right.
"""

from importlib import import_module

from alembic import op

revision = "0006"
down_revision = "0005"

TABLE = """
CREATE TABLE ledger_former_answers (
    key         text COLLATE "C" NOT NULL,
    paid_by     uuid        NOT NULL,
    answer      bytea       NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (key, paid_by)
)
"""
INDEX = "CREATE INDEX ledger_former_by_replaced ON ledger_former_answers USING brin (replaced_at)"
KEEP = """
CREATE FUNCTION ledger_keep_former() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_former_answers (key, paid_by, answer) VALUES (OLD.key, OLD.paid_by, OLD.answer)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER ledger_former AFTER UPDATE OF answer ON ledger FOR EACH ROW
WHEN (OLD.answer IS NOT NULL AND OLD.paid_by IS DISTINCT FROM NEW.paid_by)
EXECUTE FUNCTION ledger_keep_former()
"""
# As before, and: whoever paid for a former answer is known, whatever has become of the row since.
VERDICT = """
CREATE OR REPLACE FUNCTION ledger_verdict(
    p_row ledger, p_owner text, p_request uuid, p_refresh boolean
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF p_row.answer IS NOT NULL AND p_row.paid_by <> p_request AND EXISTS (
        SELECT FROM ledger_former_answers f WHERE f.key = p_row.key AND f.paid_by = p_request
    ) THEN
        RETURN 'known';
    ELSIF p_row.answer IS NOT NULL
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
# It looks after the claims are judged, in a statement of its own: what `ledger_verdict` has seen is seen here too.
ASK = """
CREATE FUNCTION ledger_ask(p_owner text, p_wishes json) RETURNS TABLE (
    n integer, verdict text, epoch bigint, attempts integer, ambiguous integer,
    owner text, answer bytea, error jsonb, newly_ambiguous boolean
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_given record;
    v_former bytea;
BEGIN
    FOR v_given IN
        SELECT c.*, w.key, w.request_id FROM ledger_claim(p_owner, p_wishes) c
        JOIN json_to_recordset(p_wishes) AS w(n integer, key text, request_id uuid) ON w.n = c.n
    LOOP
        n := v_given.n; verdict := v_given.verdict; epoch := v_given.epoch; attempts := v_given.attempts;
        ambiguous := v_given.ambiguous; owner := v_given.owner; answer := v_given.answer; error := v_given.error;
        newly_ambiguous := v_given.newly_ambiguous;
        IF verdict = 'known' THEN
            SELECT f.answer INTO v_former FROM ledger_former_answers f
            WHERE f.key = v_given.key AND f.paid_by = v_given.request_id;
            IF FOUND THEN
                verdict := 'former';
                answer := v_former;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""


def upgrade() -> None:
    # Straight to the driver: SQLAlchemy would take `:name` in a body for a parameter.
    for statement in (TABLE, INDEX, KEEP, TRIGGER, VERDICT, ASK):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    before = import_module("ops.migrations.postgres.versions.0002_ledger").KNOWN
    op.execute("DROP FUNCTION ledger_ask")
    op.get_bind().exec_driver_sql(before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute("DROP TRIGGER ledger_former ON ledger")
    op.execute("DROP FUNCTION ledger_keep_former")
    op.execute("DROP TABLE ledger_former_answers")
