"""A hit's result from stored bytes is the same as the one from the stored answer, for any request and answer."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_result, encode_result
from schemas.request import PromptRequest
from schemas.result import Answer, ErrorDetail, Source, Usage
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.results import cancelled, completed, from_entry, not_answered
from tests.builders import A_TIME, a_request, a_stored_answer, an_id, some_work
from tests.unit.events import as_read, requests

LATER = A_TIME + timedelta(seconds=90, microseconds=7)
sources = st.sampled_from(["local_cache", "shared_cache"])
moments = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 - the zone is added here
    lambda moment: moment.replace(tzinfo=A_TIME.tzinfo)
)
counts = st.integers(0, 2**40)
stored_answers = st.builds(
    StoredAnswer,
    answer=st.builds(Answer, text=st.text(), stop_reason=st.none() | st.text(max_size=20)),
    model=st.text(min_size=1, max_size=128),
    requested_model=st.none() | st.text(min_size=1, max_size=128),
    usage=st.builds(
        Usage,
        input_tokens=counts,
        output_tokens=counts,
        cache_read_tokens=counts,
        cache_write_tokens=counts,
        cache_write_1h_tokens=st.none() | counts,
    ),
    cost_usd=st.none() | st.decimals(0, 10_000, places=9),
    paid_by=st.uuids(),
    attempts=st.integers(1, 9),
    started_at=moments,
    completed_at=moments,
    model_ms=st.integers(0, 10**6),
    expires_at=moments,
)


@given(requests(), stored_answers, sources, moments, moments)
def test_a_hit_from_bytes_equals_the_result_from_the_answer(
    request: PromptRequest, stored: StoredAnswer, source: Source, started_at: datetime, now: datetime
) -> None:
    work = some_work(request, started_at=started_at)
    entry = CacheEntry.from_bytes(CacheEntry.of(stored).to_bytes())
    record = from_entry(work, entry, source, now)
    expected = completed(work, stored, source, now)
    assert decode_result(as_read(record)) == expected
    written = encode_result(expected)
    assert (record.topic, record.key, sorted(record.headers)) == (written.topic, written.key, sorted(written.headers))


@given(requests(), stored_answers, sources, moments, moments)
def test_the_request_that_paid_gets_the_very_same_bytes_again(
    request: PromptRequest, stored: StoredAnswer, source: Source, started_at: datetime, now: datetime
) -> None:
    paid = stored.model_copy(update={"paid_by": request.request_id})
    first = encode_result(completed(some_work(request), paid, "model", LATER))
    entry = CacheEntry.from_bytes(CacheEntry.of(paid).to_bytes())
    assert from_entry(some_work(request, started_at=started_at), entry, source, now) == first


@given(stored_answers)
def test_an_answer_survives_being_stored(stored: StoredAnswer) -> None:
    again = CacheEntry.from_bytes(CacheEntry.of(stored).to_bytes()).stored()
    assert abs(again.expires_at - stored.expires_at) <= timedelta(milliseconds=1)
    assert again == stored.model_copy(update={"expires_at": again.expires_at})


@given(stored_answers, st.booleans())
def test_a_renewed_answer_stays_one(stored: StoredAnswer, renewed: bool) -> None:
    entry = CacheEntry.of(stored)._replace(renewed=renewed)
    assert CacheEntry.from_bytes(entry.to_bytes()) == entry


@pytest.mark.parametrize(
    "data",
    [
        b"1 a 1 everyone - other\n{}\n{}",
        b"",
        b"x",
        b"1 a",
        b"1 a\n{}",
        b"soon a\n{}\n{}",
        b"1 \xff\n{}\n{}",
        b"1\n{}\n{}",
    ],
)
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any ValueError is what the contract says
        CacheEntry.from_bytes(data)


def test_who_did_not_pay_saved_what_the_answer_cost() -> None:
    result = completed(some_work(), a_stored_answer(cost_usd=Decimal("0.25")), "shared_cache", LATER)
    assert (result.source, result.cost_usd, result.saved_usd) == ("shared_cache", Decimal(0), Decimal("0.25"))
    assert result.paid_by == an_id(1)
    assert (result.usage, result.attempts, result.timing.model_ms) == (Usage(), 0, 0)
    assert result.timing.completed_at == LATER


def test_who_paid_bears_the_cost_and_the_times_of_the_call() -> None:
    request = a_request(request_id=an_id(1), accepted_at=A_TIME - timedelta(seconds=2))
    result = completed(some_work(request, started_at=LATER), a_stored_answer(attempts=2), "shared_cache", LATER)
    assert (result.source, result.cost_usd, result.saved_usd) == ("model", Decimal("0.0002"), Decimal(0))
    assert (result.attempts, result.timing.queue_ms, result.timing.model_ms) == (2, 2000, 990)
    assert result.timing.completed_at == A_TIME + timedelta(seconds=1)


@pytest.mark.parametrize("payer", [1, 2])
def test_an_unknown_price_is_absent_never_a_false_zero(payer: int) -> None:
    work = some_work(a_request(request_id=an_id(payer)))
    result = completed(work, a_stored_answer(cost_usd=None), "local_cache", LATER)
    assert (result.cost_usd if payer == 1 else result.saved_usd) is None


def test_a_request_from_the_future_has_not_waited() -> None:
    work = some_work(a_request(accepted_at=A_TIME + timedelta(days=1)))
    assert completed(work, a_stored_answer(), "local_cache", LATER).timing.queue_ms == 0


def test_a_result_without_an_answer_says_why_and_whose_it_is() -> None:
    given: dict[str, Any] = {"department": "ops", "labels": {"site": "osl"}, "accepted_at": A_TIME}
    work = some_work(a_request(**given))
    error = ErrorDetail(code="overloaded_error", message="Later.")
    result = not_answered(work, "failed", error, 3, LATER)
    assert (result.status, result.error, result.attempts, result.answer) == ("failed", error, 3, None)
    assert (result.department, result.labels, result.fingerprint) == ("ops", {"site": "osl"}, work.fingerprint)
    assert (result.cost_usd, result.saved_usd, result.paid_by) == (Decimal(0), Decimal(0), None)


def test_a_cancelled_request_says_what_its_own_call_had_cost_and_tells_no_answer() -> None:
    work = some_work()
    stored = a_stored_answer(paid_by=work.request.request_id)
    result = cancelled(work, CacheEntry.of(stored), LATER)
    assert (result.status, result.answer, result.source) == ("cancelled", None, "model")
    assert (result.cost_usd, result.usage, result.attempts) == (stored.cost_usd, stored.usage, stored.attempts)
    assert result.error is not None
    assert result.error.code == "cancelled"
    assert cancelled(work, CacheEntry.of(stored), LATER + timedelta(days=1)) == result


def test_what_another_paid_for_costs_a_cancelled_request_nothing() -> None:
    for billed in (None, CacheEntry.of(a_stored_answer(paid_by=an_id(9)))):
        result = cancelled(some_work(), billed, LATER)
        assert (result.status, result.source, result.cost_usd, result.paid_by) == ("cancelled", None, Decimal(0), None)
