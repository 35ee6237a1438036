"""Events and records for tests: a builder says only what matters to its test, a strategy draws any valid event."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from schemas.record import OutgoingRecord, Record
from schemas.request import CachePolicy, Message, PromptRequest
from schemas.result import Answer, ErrorDetail, PromptResult, Timing, Usage
from schemas.topics import REQUESTS

A_TIME = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
AN_ID = UUID("0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04")


def a_request(**given: Any) -> PromptRequest:
    question = {} if "template" in given else {"messages": [{"role": "user", "content": "hello"}]}
    return PromptRequest.model_validate({"request_id": AN_ID, "tenant": "meridian", **question, **given})


def a_record(value: bytes | None, *headers: tuple[str, bytes | None], **given: Any) -> Record:
    fields: dict[str, Any] = {"topic": REQUESTS, "partition": 3, "offset": 41, "key": None, "timestamp_ms": 1_000}
    return Record(**(fields | {"value": value, "headers": headers} | given))


def as_read(written: OutgoingRecord, timestamp_ms: int = 1_000) -> Record:
    """The record a consumer sees once `written` is on its topic."""
    return Record(written.topic, 0, 0, written.key, written.value, written.headers, timestamp_ms)


_words = st.text(max_size=40)
_names = st.none() | st.text(min_size=1, max_size=128)
_moments = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - the zone is the next argument but one
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
_tenants = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
_label_keys = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,63}", fullmatch=True)
_templates = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}@[1-9][0-9]{0,3}", fullmatch=True)
_plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_blocks = st.lists(st.dictionaries(_words, _plain_json, max_size=3), min_size=1, max_size=3)
_contents = st.text(min_size=1, max_size=200) | _blocks
_turns = st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=_contents)
_dialogues = st.builds(
    lambda first, rest: [Message(role="user", content=first), *rest], _contents, st.lists(_turns, max_size=3)
)
_questions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"messages": _dialogues, "system": st.none() | _words}
) | st.fixed_dictionaries({"template": _templates, "variables": st.dictionaries(_label_keys, _words, max_size=4)})
_dimensions = st.fixed_dictionaries(
    {
        "request_id": st.uuids(),
        "tenant": _tenants,
        "department": _names,
        "user_id": _names,
        "application": _names,
        "labels": st.dictionaries(_label_keys, st.text(max_size=256), max_size=16),
        "model": _names,
    }
)
_policies = st.builds(
    CachePolicy,
    mode=st.sampled_from(["use", "refresh", "bypass"]),
    ttl_seconds=st.none() | st.integers(1, 30 * 86_400),
    freshness=st.sampled_from(["stable", "volatile"]),
)
_rest_of_request = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(1, 128_000),
        "cache": _policies,
        "deadline": st.none() | _moments,
        "accepted_at": _moments,
    }
)


def requests() -> st.SearchStrategy[PromptRequest]:
    """Any valid request."""
    return st.builds(
        lambda *parts: PromptRequest.model_validate(_merged(parts)), _dimensions, _questions, _rest_of_request
    )


_counts = st.integers(0, 2**40)
_amounts = st.none() | st.decimals(0, 10_000, places=9).map(lambda amount: Decimal(amount).normalize())
_timings = st.builds(
    lambda start, queue_ms, model_ms: Timing(
        accepted_at=start,
        started_at=start + timedelta(milliseconds=queue_ms),
        completed_at=start + timedelta(milliseconds=queue_ms + model_ms),
        queue_ms=queue_ms,
        model_ms=model_ms,
    ),
    _moments,
    st.integers(0, 10**7),
    st.integers(0, 10**6),
)
_rest_of_result = st.fixed_dictionaries(
    {
        "template": st.none() | _templates,
        "status": st.sampled_from(["completed", "failed", "rejected", "expired", "cancelled"]),
        "answer": st.none() | st.builds(Answer, text=_words, stop_reason=st.none() | _words),
        "source": st.none() | st.sampled_from(["model", "local_cache", "shared_cache", "ledger", "shared_flight"]),
        "usage": st.builds(
            Usage, input_tokens=_counts, output_tokens=_counts, cache_read_tokens=_counts, cache_write_tokens=_counts
        ),
        "cost_usd": _amounts,
        "saved_usd": _amounts,
        "attempts": st.integers(0, 9),
        "timing": _timings,
        "paid_by": st.none() | st.uuids(),
        "fingerprint": st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        "error": st.none() | st.builds(ErrorDetail, code=_words, message=_words, retryable=st.booleans()),
    }
)


def results() -> st.SearchStrategy[PromptResult]:
    """Any valid result."""
    return st.builds(lambda *parts: PromptResult.model_validate(_merged(parts)), _dimensions, _rest_of_result)


def _merged(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}
