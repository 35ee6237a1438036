"""What the gateway's client decides without asking anybody: what is tried again and what an answer means."""

import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.client import (
    AsyncGatewayClient,
    BudgetSpentError,
    CallRefusedError,
    ConflictError,
    GatewayClient,
    GatewayError,
    GatewayUnavailableError,
    GatewayUnreachableError,
    KeyRefusedError,
    Patience,
    PositionExpiredError,
    TooManyRequestsError,
    UnknownIdError,
    UnreadableAnswerError,
    UploadProgress,
    WaitTimeoutError,
)
from producers.client.calls import Answer, Call, Lost, Outcome, retry_after_seconds
from producers.client.errors import Told, error_of
from producers.client.http import options_of
from producers.client.reading import Comeback, JobResults, ResultEvents
from producers.client.talk import Pause, Steps, Talk
from producers.client.uploads import upload_of
from producers.gateway.problems import Problem, answer_of
from producers.gateway.sse import frame, heartbeat, opening
from schemas.request import CachePolicy, PromptRequest
from tests.feeds import an_event
from tests.pipeline import a_question

KEY = "hr_of-a-test"
PATIENCE = Patience(attempts=4, total_seconds=30)
ACCEPTED = {"request_id": str(uuid4()), "status": "pending", "lane": "bulk", "accepted_at": "2026-01-01T00:00:00Z"}


def answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def refused(status: int, code: str, retry_after: str | None = None) -> Answer:
    said = {} if retry_after is None else {"Retry-After": retry_after}
    response = answer_of(Problem(status, code, "it is so", "Do this.", headers=said))
    return Answer(status, dict(response.headers), bytes(response.body))


class Conversation:
    """Drives a conversation with given outcomes, and keeps what it did; its clock moves with its pauses."""

    def __init__(self, *outcomes: Outcome, patience: Patience = PATIENCE) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[Call] = []
        self.pauses: list[float] = []
        self.talk = Talk(patience, lambda: 0.5, lambda: sum(self.pauses))

    def of(self, steps: Steps[Any]) -> Any:
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                outcome = None
            else:
                self.calls.append(step)
                outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


def test_what_may_pass_is_sent_again_unchanged_under_the_same_key() -> None:
    failures: list[Outcome] = [
        Lost("cut"),
        refused(503, "outcome_unknown", "2"),
        refused(409, "idempotency_key_in_progress", "1"),
    ]
    told = Conversation(*failures, answer(202, ACCEPTED, idempotent_replayed="true"))
    submitted = told.of(told.talk.submit({"prompt": "a"}, "bulk", 0, None))
    assert (submitted.request_id, submitted.repeated, submitted.ended) == (UUID(ACCEPTED["request_id"]), True, None)
    assert len(told.calls) == 4
    assert len(set(told.calls)) == 1
    assert dict(told.calls[0].headers)["Idempotency-Key"]
    assert told.pauses[1] >= 2
    assert told.pauses[2] >= 1


def test_two_submissions_have_two_keys_and_a_given_key_is_kept() -> None:
    told = Conversation(answer(202, ACCEPTED))
    for key in (None, None, "mine"):
        told.of(told.talk.submit({"prompt": "a"}, None, 0, key))
    keys = [dict(call.headers)["Idempotency-Key"] for call in told.calls]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    "final",
    [
        refused(400, "invalid_request"),
        refused(409, "already_ended"),
        refused(500, "internal_error"),
        refused(429, "quota_exceeded", "86400"),
    ],
)
def test_what_will_not_pass_in_time_is_told_at_once(final: Answer) -> None:
    told = Conversation(final)
    with pytest.raises(GatewayError, match="it is so"):
        told.of(told.talk.status(uuid4()))
    assert (len(told.calls), told.pauses) == (1, [])


def test_attempts_and_total_time_are_both_bounded() -> None:
    away = Conversation(refused(503, "broker_away"))
    with pytest.raises(GatewayUnavailableError):
        away.of(away.talk.status(uuid4()))
    assert len(away.calls) == PATIENCE.attempts
    slow = Conversation(refused(503, "backlog", "12"), patience=Patience(attempts=100, total_seconds=30))
    with pytest.raises(GatewayUnavailableError):
        slow.of(slow.talk.status(uuid4()))
    assert (len(slow.calls), sum(slow.pauses) <= 30) == (3, True)


@given(
    st.integers(1, 20),
    st.floats(0, 100),
    st.none() | st.floats(0, 100),
    st.floats(0, 1, exclude_max=True),
    st.builds(Patience, attempts=st.integers(1, 20), total_seconds=st.floats(0, 100)),
)
def test_a_pause_keeps_to_what_was_asked_and_to_its_bounds(
    attempt: int, failing: float, asked: float | None, thrown: float, patience: Patience
) -> None:
    pause = patience.pause_seconds(attempt, failing, asked, lambda: thrown)
    if pause is None:
        return
    assert attempt < patience.attempts
    assert failing + pause <= patience.total_seconds
    assert pause >= asked if asked is not None else pause <= patience.longest_pause_seconds


def test_a_wait_looks_until_the_end_or_its_deadline() -> None:
    body: dict[str, Any] = dict.fromkeys(
        ("lane", "department", "user_id", "application", "template", "attempts", "source", "model"), None
    ) | dict.fromkeys(("usage", "cost_usd", "saved_usd", "paid_by", "answer", "error"), None)
    times = {"accepted_at": "2026-01-01T00:00:00Z", "a_new_field": 1}
    timing = times | dict.fromkeys(("started_at", "completed_at", "queue_ms", "model_ms"))
    body |= {"request_id": str(uuid4()), "labels": {}, "timing": timing, "another": 2}
    pending, done = answer(200, body | {"status": "pending"}), answer(200, body | {"status": "completed"})
    told = Conversation(pending, pending, done)
    assert told.of(told.talk.wait(uuid4(), 60)).status == "completed"
    never = Conversation(pending)
    with pytest.raises(WaitTimeoutError, match="Wait for it again") as late:
        never.of(never.talk.wait(request_id := uuid4(), 5))
    assert late.value.request_id == request_id
    assert sum(never.pauses) == pytest.approx(5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0, GatewayUnreachableError),
        (400, CallRefusedError),
        (401, KeyRefusedError),
        (402, BudgetSpentError),
        (403, KeyRefusedError),
        (404, UnknownIdError),
        (409, ConflictError),
        (410, PositionExpiredError),
        (413, CallRefusedError),
        (422, CallRefusedError),
        (429, TooManyRequestsError),
        (502, GatewayUnavailableError),
    ],
)
def test_an_error_says_its_code_its_detail_and_what_to_do(status: int, kind: type[GatewayError]) -> None:
    request_id = uuid4()
    error = error_of(Told(status, "a_code", "a detail", "A step.", request_id, None, 3.0))
    assert type(error) is kind
    assert str(error) == f"a_code: a detail (request {request_id}). A step."
    assert (error.code, error.detail, error.next_step, error.request_id) == (
        "a_code",
        "a detail",
        "A step.",
        request_id,
    )


def test_what_is_no_problem_document_is_said_to_come_from_something_else() -> None:
    told = Conversation(Answer(404, {}, b"<html>secret-page</html>"))
    with pytest.raises(UnknownIdError, match="not_a_gateway") as error:
        told.of(told.talk.status(uuid4()))
    assert "secret-page" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(said: str, seconds: float | None) -> None:
    headers = {"retry-after": said, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert retry_after_seconds(Answer(503, headers, b"")) == seconds


def test_an_answer_that_cannot_be_read_is_not_repeated_in_the_error() -> None:
    told = Conversation(Answer(200, {}, b'{"answer": "a secret answer"}'))
    events = ResultEvents((), comeback())
    lines = JobResults(uuid4(), comeback())
    for read in (
        lambda: told.of(told.talk.status(uuid4())),
        lambda: events.take(frame("result", b'{"answer":"a secret answer"}', "p1")),
        lambda: lines.take(b'{"answer":"a secret answer"}\n'),
    ):
        with pytest.raises(UnreadableAnswerError) as unreadable:
            read()
        assert "secret" not in str(unreadable.value)
        assert unreadable.value.__context__ is None


RESULTS = [an_event(0, number) for number in range(4)]
STREAM = b"".join(
    (
        opening("p0"),
        *(frame("result", event.record.value or b"", f"p{n}") for n, event in enumerate(RESULTS, 1)),
        heartbeat("p9"),
        frame("resume", b'{"reason":"closing"}'),
    )
)
IDS_IN_STREAM = [json.loads(event.record.value or b"")["request_id"] for event in RESULTS]


def comeback() -> Comeback:
    return Comeback(PATIENCE, lambda: 0.5, lambda: 0.0)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.booleans())
def test_events_are_the_same_however_their_bytes_are_cut(cuts: Sequence[int], carriage_returns: bool) -> None:
    content = STREAM.replace(b"\n", b"\r\n") if carriage_returns else STREAM
    events = ResultEvents((), comeback())
    places = [0, *sorted(cuts), len(content)]
    found = [one for a, b in pairwise(places) for one in events.take(content[a:b])]
    assert [str(one.result.request_id) for one in found] == IDS_IN_STREAM
    assert [one.event_id for one in found] == ["p1", "p2", "p3", "p4"]
    assert events.last_event_id == "p9"


@given(st.integers(0, len(STREAM)))
def test_a_stream_goes_on_behind_the_last_whole_event(cut: int) -> None:
    events = ResultEvents((), comeback())
    events.call()
    had = [str(one.result.request_id) for one in events.take(STREAM[:cut])]
    events.ended(Lost("cut"))
    again = dict(events.call().headers)
    position = int(again.get("Last-Event-ID", "p0")[1:])
    assert had == IDS_IN_STREAM[:position]
    assert events.take(b"\n") == []


def test_a_stream_that_is_refused_for_good_says_why() -> None:
    with pytest.raises(PositionExpiredError):
        ResultEvents((), comeback()).ended(refused(410, "event_id_expired"))


@given(st.integers(0, 5), st.integers(0, 40))
def test_results_of_a_job_that_were_cut_come_once_each(lines: int, cut: int) -> None:
    content = b"".join(
        b'{"item":%d,"request_id":"%s","status":"completed","cost_usd":"0.0000008","new":1}\n'
        % (n, str(uuid4()).encode())
        for n in range(1, lines + 1)
    )
    results = JobResults(uuid4(), comeback())
    results.call()
    found = results.take(content[: cut * len(content) // 40])
    results.ended(Lost("cut"))
    results.call()
    found += results.take(content)
    assert results.ended(None) == 0
    assert results.is_over
    assert sorted(result.item for result in found) == list(range(1, lines + 1))
    assert all(result.cost_usd == Decimal("0.0000008") for result in found)


def test_an_upload_is_the_same_bytes_each_time_though_its_source_can_be_taken_once() -> None:
    seen: list[UploadProgress] = []
    items: list[PromptRequest | dict[str, Any]] = [
        {"prompt": "a", "cache": CachePolicy(mode="bypass")},
        a_question(text="b"),
    ]
    with upload_of(iter(items), None, seen.append) as upload:
        first, second = b"".join(upload.pieces()), b"".join(upload.pieces())
    assert first == second
    assert seen == [UploadProgress(len(first), len(first))] * 2
    lines = [json.loads(line) for line in first.splitlines()]
    assert (lines[0]["cache"]["mode"], lines[1]["messages"]) == ("bypass", [{"role": "user", "content": "b"}])
    assert not {"request_id", "tenant", "accepted_at"} & lines[1].keys()


def test_a_file_tells_its_form_by_its_name(tmp_path: Path) -> None:
    for name, kind in (("a.csv", "text/csv"), ("a.json", "application/json"), ("a.NDJSON", "application/x-ndjson")):
        (tmp_path / name).write_bytes(b"x")
        with upload_of(tmp_path / name, None, None) as upload:
            assert (upload.media_type, upload.size_bytes) == (kind, 1)
    with pytest.raises(ValueError, match="media_type"), upload_of(tmp_path / "a.txt", None, None):
        pass


def test_the_key_may_stand_in_the_address_and_is_shown_nowhere() -> None:
    for options in (options_of(f"http://key:{KEY}@host:1", None, {}), options_of("http://host:1", KEY, {})):
        assert options["headers"]["Authorization"] == f"Bearer {KEY}"
        assert str(options["base_url"]) == "http://host:1"
    for client in (GatewayClient(f"http://key:{KEY}@host:1"), AsyncGatewayClient("http://host:1", key=KEY)):
        assert KEY not in repr(client) + str(vars(client))
        assert "host:1" in repr(client)


@pytest.mark.parametrize(("url", "key"), [("host:1", KEY), ("ftp://host", KEY), ("http://host", None)])
def test_an_address_or_a_key_that_cannot_be_is_refused(url: str, key: str | None) -> None:
    with pytest.raises(ValueError, match=r"the gateway's address|an API key is needed"):
        GatewayClient(url, key=key)


def test_a_bad_key_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(ValueError, match="API key") as refusal:
        GatewayClient("http://host", key="hr_\nsecret")
    assert "secret" not in str(refusal.value)


def test_the_client_needs_neither_kafka_nor_the_gateways_framework() -> None:
    told = "import sys; from producers import GatewayClient; print([m for m in sys.modules if m in %r])"
    heavy = ("confluent_kafka", "fastapi", "starlette", "orjson", "psycopg")
    ran = subprocess.run([sys.executable, "-c", told % (heavy,)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
