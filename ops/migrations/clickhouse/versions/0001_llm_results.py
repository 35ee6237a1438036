"""One row per result for analysts, and the views that count each request once.

What makes two rows the same result is the tenant and the id, and nothing else: sort key and partition are computed
from the id alone, so a repeated row always meets its twin, whatever its times are. Of differing twins the one that
completed first stays, as in Postgres. Every statement is repeatable: ClickHouse has no transaction around them.
"""

from alembic import op

revision = "0001"
down_revision = None

# ClickHouse compares a UUID by its second half first, so the sort key takes it as a number. The month of an id is
# taken where it is a version 7 id of a plausible year; any other id, or a made-up time, goes to partition 0.
TABLE = """
CREATE TABLE IF NOT EXISTS llm_results (
    request_id         UUID,
    tenant             LowCardinality(String),
    department         LowCardinality(String),
    user_id            String CODEC(ZSTD(1)),
    application        LowCardinality(String),
    labels             Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    template           LowCardinality(String),
    status             LowCardinality(String),
    source             LowCardinality(String),
    model              LowCardinality(String),
    input_tokens       UInt64 CODEC(T64, LZ4),
    output_tokens      UInt64 CODEC(T64, LZ4),
    cache_read_tokens  UInt64 CODEC(T64, LZ4),
    cache_write_tokens UInt64 CODEC(T64, LZ4),
    cost_usd           Nullable(Decimal(18, 9)) COMMENT 'NULL: the price is unknown',
    saved_usd          Nullable(Decimal(18, 9)) COMMENT 'NULL: the price is unknown',
    attempts           UInt64 CODEC(T64, LZ4),
    accepted_at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    started_at         DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    completed_at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    queue_ms           UInt64 CODEC(T64, LZ4),
    model_ms           UInt64 CODEC(T64, LZ4),
    paid_by            Nullable(UUID),
    fingerprint        String CODEC(ZSTD(1)),
    error_code         LowCardinality(String),
    stop_reason        LowCardinality(String),
    answer             Nullable(String) CODEC(ZSTD(3)) TTL toDateTime(completed_at) + INTERVAL 30 DAY,
    version            UInt64 MATERIALIZED 9223372036854775807 - toUnixTimestamp64Micro(completed_at),
    id_month           UInt32 MATERIALIZED if(
        bitAnd(bitShiftRight(toUInt128(request_id), 76), 15) = 7
            AND bitShiftRight(toUInt128(request_id), 80) BETWEEN 1577836800000 AND 2524608000000,
        toYYYYMM(fromUnixTimestamp64Milli(toInt64(bitShiftRight(toUInt128(request_id), 80)), 'UTC')), 0),
    INDEX by_accepted accepted_at TYPE minmax,
    INDEX by_completed completed_at TYPE minmax
) ENGINE = ReplacingMergeTree(version)
PARTITION BY id_month
ORDER BY (tenant, toUInt128(request_id))
SETTINGS non_replicated_deduplication_window = 10000
"""

# FINAL keeps one row per key while it reads; partitions never share a key, so each is merged for itself.
RESULTS = """
CREATE VIEW IF NOT EXISTS results AS
SELECT * FROM llm_results FINAL SETTINGS do_not_merge_across_partitions_select_final = 1
"""

# A view over the deduplicated rows instead of a materialized one: an insert that repeats cannot be added up twice.
DEPARTMENT_DAYS = """
CREATE VIEW IF NOT EXISTS department_days AS
SELECT
    r.tenant AS tenant,
    r.department AS department,
    toDate(r.completed_at) AS day,
    count() AS requests,
    countIf(r.status = 'completed') AS completed,
    countIf(r.status = 'failed') AS failed,
    countIf(r.status = 'completed' AND r.source != 'model') AS hits,
    sum(r.input_tokens) AS input_tokens,
    sum(r.output_tokens) AS output_tokens,
    sum(r.cost_usd) AS cost_usd,
    sum(r.saved_usd) AS saved_usd,
    countIf(r.cost_usd IS NULL) AS unpriced,
    quantile(0.5)(dateDiff('millisecond', r.accepted_at, r.completed_at)) AS p50_ms,
    quantile(0.95)(dateDiff('millisecond', r.accepted_at, r.completed_at)) AS p95_ms
FROM results AS r
GROUP BY tenant, department, day
"""


def upgrade() -> None:
    for statement in (TABLE, RESULTS, DEPARTMENT_DAYS):
        op.execute(statement)


def downgrade() -> None:
    for statement in ("DROP VIEW department_days", "DROP VIEW results", "DROP TABLE llm_results"):
        op.execute(statement)
