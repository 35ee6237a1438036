"""Who is let in, and as what; who is not, and why."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from schemas.fingerprint import fingerprint_of
from schemas.request import PromptRequest
from streams.admission import Admission, Refusal, Work
from tests.builders import A_TIME, MODEL, a_request, asking
from tests.unit.events import requests

ADMISSION = Admission(MODEL)


def admitted(request: PromptRequest, traceparent: str | None = None) -> Work | Refusal:
    return ADMISSION.admit(asking(request, traceparent=traceparent), request, A_TIME)


def let_in(**given: Any) -> Work:
    outcome = admitted(a_request(**given))
    assert isinstance(outcome, Work)
    return outcome


def refused(**given: Any) -> Refusal:
    outcome = admitted(a_request(**given))
    assert isinstance(outcome, Refusal)
    return outcome


def test_a_request_without_a_model_is_asked_of_the_default_one() -> None:
    work = let_in()
    assert work.model == MODEL
    assert work.fingerprint == let_in(model=MODEL).fingerprint


def test_a_request_is_asked_of_the_model_it_names() -> None:
    work = let_in(model="claude-opus-5")
    assert work.model == "claude-opus-5"
    assert work.fingerprint == fingerprint_of(work.request, "claude-opus-5") != let_in().fingerprint


def test_time_is_counted_from_when_the_record_was_taken() -> None:
    assert let_in(accepted_at=A_TIME - timedelta(days=3)).started_at == A_TIME


def test_a_first_delivery_has_burnt_no_attempt() -> None:
    assert let_in().attempts == 0


@pytest.mark.parametrize(
    "deadline", [A_TIME, A_TIME - timedelta(days=1), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))]
)
def test_a_passed_deadline_expires_the_request(deadline: datetime) -> None:
    refusal = refused(deadline=deadline)
    assert (refusal.status, refusal.error.code) == ("expired", "deadline_passed")


def test_a_deadline_at_the_end_of_time_is_let_in() -> None:
    let_in(deadline=datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))))
    let_in(deadline=datetime.max.replace(tzinfo=UTC))


def test_a_template_with_its_variables_is_let_in() -> None:
    let_in(template="config-review@1", variables={"config": "hostname osl-01"})


@pytest.mark.parametrize(
    ("template", "variables", "code"),
    [
        ("no-such@1", {}, "unknown_template"),
        ("config-review@2", {"config": "x"}, "unknown_template"),
        ("network-config@1", {"device_name": "osl-01"}, "missing_variable"),
        ("config-review@1", {"config": "  "}, "missing_variable"),
        ("config-review@1", {"config": "x", "colour": "y"}, "unknown_variable"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_with_its_code(
    template: str, variables: dict[str, str], code: str
) -> None:
    refusal = refused(template=template, variables=variables)
    assert (refusal.status, refusal.error.code, refusal.error.retryable) == ("rejected", code, False)


def test_a_refusal_never_repeats_a_variable() -> None:
    refusal = refused(template="config-review@1", variables={"config": "x", "colour": "s3cret"})
    assert "s3cret" not in refusal.error.message


def test_the_trace_goes_along() -> None:
    request = a_request()
    traced = admitted(request, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert isinstance(traced, Work)
    assert traced.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert let_in().traceparent is None


@given(requests())
def test_every_valid_request_is_let_in_or_refused(request: PromptRequest) -> None:
    outcome = admitted(request)
    work = outcome.work if isinstance(outcome, Refusal) else outcome
    assert work.request is request
    assert work.started_at == A_TIME
