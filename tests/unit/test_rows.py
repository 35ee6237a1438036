"""Events as rows: any event fits, and the order of events does not matter."""

from decimal import Decimal
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import encode_request, encode_result
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import BULK_REQUESTS
from streams.sinks import clickhouse_rows, postgres_rows
from streams.sinks.port import BadRow
from streams.sinks.result_fields import fields_of, turned
from tests.sinks import a_result, as_record
from tests.unit.events import a_request, requests, results

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)

A_RECORD = as_record(encode_result(a_result()))


def named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(postgres_rows.COLUMNS, postgres_rows.readable(row), strict=True))


def postgres_row(result: PromptResult) -> dict[str, Any]:
    (row,) = postgres_rows.result_rows([as_record(encode_result(result))], turned([fields_of(result)]))
    return named(row)


@given(results())
@quick
def test_any_result_makes_a_postgres_row_without_nul(result: PromptResult) -> None:
    row = postgres_row(result)
    texts = [value for value in row.values() if isinstance(value, str)] + list(row["labels"].values())
    assert not any("\0" in text for text in texts)
    assert (row["request_id"], row["paid_by"], row["status"]) == (result.request_id, result.paid_by, result.status)
    moments = (row["accepted_at"], row["started_at"], row["completed_at"])
    assert moments == (result.timing.accepted_at, result.timing.started_at, result.timing.completed_at)


@given(requests())
@quick
def test_any_request_makes_a_pending_row_without_its_prompt(request: PromptRequest) -> None:
    record = as_record(encode_request(request, BULK_REQUESTS))
    row = named(*postgres_rows.pending_rows([record], [request]))
    assert (row["status"], row["lane"], row["answer"], row["completed_at"]) == ("pending", "bulk", None, None)


def clickhouse_row(result: PromptResult, *, with_text: bool = False) -> dict[str, Any]:
    rows = clickhouse_rows.rows_of(turned([fields_of(result)]), with_text=with_text)
    return dict(*rows.to_pylist())


@given(results())
@quick
def test_any_result_makes_a_clickhouse_row_that_keeps_its_identity(result: PromptResult) -> None:
    row = clickhouse_row(result)
    assert UUID(bytes=row["request_id"]) == result.request_id
    assert dict(row["labels"]) == result.labels
    assert "answer" not in row
    assert None not in (row["department"], row["error_code"], row["fingerprint"])


def test_the_answer_is_kept_for_analysts_only_when_that_is_switched_on() -> None:
    assert clickhouse_row(a_result(), with_text=True)["answer"] == "no shutdown"


@pytest.mark.parametrize("written", ["0.0000000016", "0.000000002", "2E-9"])
def test_an_amount_keeps_what_a_billionth_of_a_dollar_can_say(written: str) -> None:
    row = clickhouse_row(a_result(cost_usd=written, saved_usd=None))
    assert (row["cost_usd"], row["saved_usd"]) == (Decimal("0.000000002"), None)


@given(st.decimals("-999999999", "999999999", places=9) | st.decimals(-10, 10))
@quick
def test_an_amount_is_the_same_alone_and_beside_one_that_is_unknown(amount: Decimal) -> None:
    columns = turned([fields_of(a_result(cost_usd=amount)), fields_of(a_result(cost_usd=None))])
    alone, beside = clickhouse_row(a_result(cost_usd=amount)), clickhouse_rows.rows_of(columns, with_text=False)
    assert beside.to_pylist()[0]["cost_usd"] == alone["cost_usd"] == round(amount, 9)


@pytest.mark.parametrize(
    "wrong", [{"cost_usd": "1000000000"}, {"cost_usd": "999999999.9999999999"}, {"attempts": 2**63}]
)
def test_a_number_that_fits_no_column_is_a_bad_row(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        clickhouse_row(a_result(**wrong))


def test_three_events_of_one_request_make_the_same_row_in_any_order() -> None:
    rows = [postgres_rows.pending_row(a_request(), "bulk")]
    done = [fields_of(a_result(seconds=each, attempts=each)) for each in (1, 2)]
    rows += postgres_rows.result_rows([A_RECORD, A_RECORD], turned(done))
    found = {repr(postgres_rows.merged(order)) for order in permutations(rows)}
    assert len(found) == 1
    (first,), pending = postgres_rows.merged(rows)
    assert (named(first)["attempts"], named(first)["lane"], pending) == (1, "bulk", [])
