"""What each error of the API means, and how long a retry-after makes us wait."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected, ModelUnavailable
from streams.model.failures import MAX_RETRY_AFTER_SECONDS, classify, retry_after_seconds

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/messages")


def an_error(
    status: int, error_type: str | None = "some_error", code: str | None = None, message: str = "No.", **headers: str
) -> anthropic.APIStatusError:
    body: dict[str, Any] | None = None
    if error_type is not None:
        body = {"type": "error", "error": {"type": error_type, "message": message}}
        if code is not None:
            body["error"]["details"] = {"error_code": code}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    response = httpx2.Response(status, headers=named, request=REQUEST)
    return anthropic.APIStatusError("refused", response=response, body=body)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, None, ModelRejected),
        (401, None, ModelPaused),
        (402, None, ModelPaused),
        (403, None, ModelPaused),
        (404, None, ModelRejected),
        (408, None, ModelBusy),
        (409, None, ModelBusy),
        (413, None, ModelRejected),
        (422, None, ModelRejected),
        (429, None, ModelBusy),
        (429, "ramp_limit_exceeded", ModelBusy),
        (429, "enforced_spend_limit_reached", ModelPaused),
        (429, "contract_spend_limit_reached", ModelPaused),
        (400, "linked_organization_spend_limit_reached", ModelPaused),
        (400, "some_new_spend_limit_reached", ModelPaused),
        (429, "a_code_of_tomorrow", ModelBusy),
        (400, "a_code_of_tomorrow", ModelRejected),
        (500, None, ModelBusy),
        (503, None, ModelBusy),
        (504, None, ModelBusy),
        (529, None, ModelBusy),
    ],
)
def test_a_status_means_what_to_do_next(status: int, code: str | None, expected: type[ModelError]) -> None:
    failure = classify(an_error(status, code=code), NOW)
    assert type(failure) is expected
    assert failure.code == (code or "some_error")
    assert failure.message == "No."


def test_only_a_429_pauses_the_shared_limiter() -> None:
    limited, overloaded = classify(an_error(429, retry_after="7"), NOW), classify(an_error(529, retry_after="7"), NOW)
    assert isinstance(limited, ModelBusy)
    assert isinstance(overloaded, ModelBusy)
    assert (limited.limited, overloaded.limited) == (True, False)
    assert limited.retry_after_seconds == overloaded.retry_after_seconds == 7


@pytest.mark.parametrize(
    "message",
    [
        "You have reached your specified workspace API usage limits. You will regain access on 2026-12-01.",
        "Your credit balance is too low to access the Anthropic API.",
    ],
)
def test_a_400_for_spent_money_pauses_instead_of_blaming_the_request(message: str) -> None:
    assert type(classify(an_error(400, "invalid_request_error", message=message), NOW)) is ModelPaused


@pytest.mark.parametrize(
    ("status", "error_type", "message"),
    [
        (404, "not_found_error", "model: claude-nobody-9"),
        (404, "not_found_error", "The model claude-opus-4-1 was retired on 2026-08-05."),
        (403, "permission_error", "Your API key does not have access to the model claude-mythos-5-2."),
    ],
)
def test_a_refusal_that_names_the_model_is_of_the_model_alone(status: int, error_type: str, message: str) -> None:
    assert type(classify(an_error(status, error_type, message=message), NOW)) is ModelUnavailable


def test_a_refusal_that_names_no_model_is_of_the_key_or_the_request() -> None:
    of_the_key = "Your API key does not have permission to use the specified resource."
    assert type(classify(an_error(403, "permission_error", message=of_the_key), NOW)) is ModelPaused
    of_the_account = "Your organization has been disabled from using models."
    assert type(classify(an_error(403, "permission_error", message=of_the_account), NOW)) is ModelPaused
    assert type(classify(an_error(404, "not_found_error", message="File not found: file_1"), NOW)) is ModelRejected


def test_an_answer_that_is_not_the_apis_pauses_because_every_request_would_meet_it() -> None:
    assert type(classify(an_error(404, error_type=None), NOW)) is ModelPaused
    assert type(classify(an_error(302, error_type=None), NOW)) is ModelPaused


def test_an_error_event_inside_a_stream_is_ambiguous() -> None:
    assert type(classify(an_error(200, "overloaded_error"), NOW)) is ModelAmbiguous


def a_connection_error(*causes: BaseException) -> anthropic.APIConnectionError:
    error = anthropic.APIConnectionError(request=REQUEST)
    above: BaseException = error
    for cause in causes:
        above.__cause__ = cause
        above = cause
    return error


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([httpx2.ConnectError("refused")], ModelBusy),
        ([httpx2.ConnectTimeout("slow")], ModelBusy),
        ([httpx2.PoolTimeout("full")], ModelBusy),
        ([httpx2.ConnectError("refused"), aiohttp.ServerDisconnectedError()], ModelAmbiguous),
        ([aiohttp.ConnectionTimeoutError()], ModelBusy),
        ([aiohttp.ServerDisconnectedError()], ModelAmbiguous),
        ([aiohttp.ClientOSError(104, "reset")], ModelAmbiguous),
        ([aiohttp.ClientPayloadError("cut")], ModelAmbiguous),
        ([httpx2.ReadError("cut")], ModelAmbiguous),
        ([httpx2.RemoteProtocolError("closed")], ModelAmbiguous),
        ([ConnectionResetError()], ModelAmbiguous),
        ([ConnectionRefusedError()], ModelBusy),
        ([], ModelAmbiguous),
    ],
)
def test_only_a_request_that_was_never_sent_is_definitely_unpaid(
    causes: list[BaseException], expected: type[ModelError]
) -> None:
    assert type(classify(a_connection_error(*causes), NOW)) is expected


def test_a_timeout_after_sending_is_ambiguous() -> None:
    assert type(classify(anthropic.APITimeoutError(REQUEST), NOW)) is ModelAmbiguous


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "2", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Sat, 21 Nov 2126 12:00:00 GMT"}, MAX_RETRY_AFTER_SECONDS),
        ({"retry-after": "4294967"}, MAX_RETRY_AFTER_SECONDS),
        ({"retry-after": "inf"}, MAX_RETRY_AFTER_SECONDS),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_read_in_every_form_and_bounded(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@given(text=st.text())
def test_no_retry_after_breaks_us_or_parks_us(text: str) -> None:
    seconds = retry_after_seconds({"retry-after": text}, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
