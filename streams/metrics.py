"""Every metric's name, kind and labels. Labels are closed sets; never a tenant, an id or a text."""

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from schemas.result import Usage

_LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# OpenTelemetry's GenAI conventions name these two and their buckets.
_CALL_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(14))

RECORDS: Final = Counter("headrace_records_total", "Records taken from a request topic.", ["topic"])
RESULTS: Final = Counter("headrace_results_total", "Results handed to the broker.", ["status", "source"])
DEAD_LETTERS: Final = Counter("headrace_dead_letters_total", "Records that became dead letters.", ["reason"])
REQUEST_SECONDS: Final = Histogram(
    "headrace_request_seconds", "From accepted to result confirmed.", ["source"], buckets=_LATENCY_BUCKETS
)
IN_FLIGHT: Final = Gauge("headrace_in_flight_records", "Records taken and not yet released.", ["lane"])
IN_FLIGHT_BYTES: Final = Gauge("headrace_in_flight_bytes", "Bytes of records taken and not yet released.", ["lane"])
ASSIGNED_PARTITIONS: Final = Gauge("headrace_assigned_partitions", "Partitions this worker holds.", ["lane"])
LATE_COMPLETIONS: Final = Gauge(
    "headrace_late_completions",
    "Records finished after their partition was taken away, since the start; they are redelivered.",
    ["lane"],
)

CACHE_LOOKUPS: Final = Counter("headrace_cache_lookups_total", "Looked-up keys.", ["tier", "outcome"])
CACHE_ERRORS: Final = Counter(
    "headrace_cache_errors_total", "Cache round trips that failed; the work goes on.", ["operation"]
)
SHARED_FLIGHTS: Final = Counter("headrace_shared_flights_total", "Requests that waited for another's call.")

MODEL_CALLS: Final = Counter("headrace_model_calls_total", "Calls of the model by how they ended.", ["outcome"])
MODEL_SECONDS: Final = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "One call of the model.",
    ["gen_ai_request_model", "error_type"],
    buckets=_CALL_BUCKETS,
)
MODEL_TOKENS: Final = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of one call.",
    ["gen_ai_request_model", "gen_ai_token_type"],
    buckets=_TOKEN_BUCKETS,
)
FALLBACK_ANSWERS: Final = Counter(
    "headrace_fallback_answers_total",
    "Answers of another model than the one asked for: that was refused, or its breaker was open.",
    ["reason"],
)
ENDPOINT_CALLS: Final = Counter(
    "headrace_endpoint_calls_total", "Calls of each model endpoint by how they ended.", ["endpoint", "outcome"]
)
ENDPOINT_RESTS: Final = Gauge(
    "headrace_endpoint_rests",
    "1 from a failure of a model endpoint until it has answered again.",
    ["endpoint", "reason"],
)
ENDPOINT_LATENCY_SECONDS: Final = Gauge(
    "headrace_endpoint_latency_seconds",
    "How long the newest calls of a model endpoint took; a moving mean.",
    ["endpoint"],
)
PAUSED_SCOPES: Final = Gauge(
    "headrace_paused_scopes", "Models, or the whole account, that are not called now.", ["reason"]
)
LIMIT_WAIT_SECONDS: Final = Histogram(
    "headrace_limit_wait_seconds",
    "How long calls waited for the shared rate limits, by what held them back.",
    ["reason"],
    buckets=_LATENCY_BUCKETS,
)
LIMIT_WAITING: Final = Gauge("headrace_limit_waiting", "Calls that wait for the shared rate limits.", ["lane"])
DEFERRED: Final = Counter("headrace_deferred_total", "Requests put on the retry topic.", ["code"])
LEDGER_WAITS: Final = Counter("headrace_ledger_waits_total", "Requests that waited for a claim of another worker.")
BUDGET_REFUSALS: Final = Counter(
    "headrace_budget_refusals_total", "Requests refused for a budget with nothing left.", ["scope", "period"]
)
BUDGET_WAITS: Final = Counter(
    "headrace_budget_waits_total", "Requests that waited for what calls under way had reserved of a budget."
)
BUDGETS_OVER: Final = Gauge(
    "headrace_budgets_over", "Budgets at or over their soft or hard limit, as far as this worker knows.", ["limit"]
)
COST_USD: Final = Counter("headrace_cost_usd_total", "Paid to the model.")
UNPRICED_CALLS: Final = Counter(
    "headrace_unpriced_calls_total", "Paid calls whose price is unknown; their cost is unknown."
)

SINK_ROWS: Final = Counter("headrace_sink_rows_total", "Rows written.", ["store"])
SINK_REFUSED: Final = Counter(
    "headrace_sink_refused_total", "Records a sink could not read and passed over.", ["store"]
)
SINK_BATCH_SECONDS: Final = Histogram(
    "headrace_sink_batch_seconds", "One batch written.", ["store"], buckets=_LATENCY_BUCKETS
)
SINK_PAUSED: Final = Gauge("headrace_sink_paused", "1 while the store is down and the sink waits for it.", ["store"])

RETRIES_WAITING: Final = Gauge("headrace_retries_waiting", "Requests held until they are due again.")
RETRIES_NEXT_DUE: Final = Gauge(
    "headrace_retries_next_due_seconds", "Until the next waiting request is due; 0 when none waits."
)
RETRIES_OVERDUE: Final = Gauge(
    "headrace_retries_oldest_overdue_seconds", "How long the first due request has been due; 0 when none is."
)
RETRIES_RETURNED: Final = Counter(
    "headrace_retries_returned_total", "Requests put back on their topic, by what had failed.", ["reason"]
)

LEDGER_VERDICTS: Final = Counter("headrace_ledger_verdicts_total", "Verdicts of the ledger on claims.", ["verdict"])
LEDGER_AMBIGUOUS: Final = Counter(
    "headrace_ledger_ambiguous_total", "Calls that were sent and whose answer nobody saw; each may have been paid."
)
LEDGER_FENCED: Final = Counter(
    "headrace_ledger_fenced_total", "Sent-marks and settlements that came too late and changed no answer."
)
LEDGER_BATCH_RECORDS: Final = Histogram(
    "headrace_ledger_batch_records",
    "Records in one round trip to the ledger.",
    buckets=tuple(float(2**power) for power in range(10)),
)
LEDGER_SECONDS: Final = Histogram(
    "headrace_ledger_seconds", "One round trip to the ledger.", ["operation"], buckets=_LATENCY_BUCKETS
)

GATEWAY_SECONDS: Final = Histogram(
    "headrace_gateway_seconds",
    "Until an answer of the gateway began, by the route's pattern.",
    ["route", "status"],
    buckets=_LATENCY_BUCKETS,
)
GATEWAY_WAITING: Final = Gauge(
    "headrace_gateway_waiting_requests", "Requests that wait for a worker, as the gateway sees them.", ["lane"]
)


def show_budgets_over(soft: int, hard: int) -> None:
    """How many budgets are at or over each limit."""
    BUDGETS_OVER.labels("soft").set(soft)
    BUDGETS_OVER.labels("hard").set(hard)


_seen_models: set[str] = set()
_MOST_MODELS: Final = 32


def observe_call(model: str, seconds: float, usage: Usage) -> None:
    """One answered call, under OpenTelemetry's names; `model` is what the API says answered."""
    name = model if model in _seen_models or len(_seen_models) < _MOST_MODELS else "other"
    _seen_models.add(name)
    MODEL_SECONDS.labels(name, "").observe(seconds)
    MODEL_TOKENS.labels(name, "input").observe(usage.input_tokens)
    MODEL_TOKENS.labels(name, "output").observe(usage.output_tokens)
    for kind, count in (("cache_read", usage.cache_read_tokens), ("cache_write", usage.cache_write_tokens)):
        if count:
            MODEL_TOKENS.labels(name, kind).observe(count)


def observe_failed_call(error_type: str, seconds: float) -> None:
    """One call without an answer. What it asked for is the caller's text, so it is no label."""
    MODEL_SECONDS.labels("other", error_type).observe(seconds)


def exposition() -> tuple[bytes, str]:
    """All of this process's metrics in Prometheus' text format, and its media type."""
    return generate_latest(), CONTENT_TYPE_LATEST
