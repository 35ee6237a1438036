"""What a request may say, to the limit and one past it."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.request import PromptRequest
from tests.unit.events import a_request

TURN = {"role": "user", "content": "hello"}

AT_THE_LIMIT: list[dict[str, Any]] = [
    {"labels": {f"k{n}": "v" * 256 for n in range(16)}},
    {"labels": {"k" * 64: ""}},
    {"max_tokens": 1},
    {"max_tokens": 128_000},
    {"messages": [TURN] * 1000},
    {"tenant": "t" * 64},
    {"department": "d" * 128},
    {"cache": {"ttl_seconds": 30 * 86_400}},
    {"template": "network-config@1", "variables": {f"v{n}": "" for n in range(64)}},
    {"template": "a" * 64 + "@9999"},
    {"deadline": "2026-11-02T09:30:00+01:00"},
]
PAST_THE_LIMIT: list[dict[str, Any]] = [
    {"labels": {f"k{n}": "v" for n in range(17)}},
    {"labels": {"k": "v" * 257}},
    {"labels": {"k" * 65: "v"}},
    {"labels": {"": "v"}},
    {"max_tokens": 0},
    {"max_tokens": 128_001},
    {"max_tokens": 1.5},
    {"messages": []},
    {"messages": [TURN] * 1001},
    {"messages": [{"role": "system", "content": "hello"}]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "user", "content": []}]},
    {"messages": [{"role": "user", "content": [{"n": float("inf")}]}]},
    {"messages": [{"role": "user", "content": [{"text": "\ud800"}]}]},
    {"messages": [{"role": "assistant", "content": "hello"}, TURN]},
    {"tenant": ""},
    {"tenant": "t" * 65},
    {"tenant": "two words"},
    {"tenant": "newline\n"},
    {"department": ""},
    {"department": "d" * 129},
    {"cache": {"ttl_seconds": 0}},
    {"cache": {"ttl_seconds": 30 * 86_400 + 1}},
    {"cache": {"mode": "maybe"}},
    {"template": "network-config"},
    {"template": "network-config@0"},
    {"template": "network-config@1", "variables": {f"v{n}": "" for n in range(65)}},
    {"template": "network-config@1", "messages": [TURN]},
    {"template": "network-config@1", "system": "Be brief."},
    {"variables": {"device_name": "a"}},
    {"messages": None},
    {"deadline": datetime(2026, 11, 2)},  # noqa: DTZ001 - a time without a zone is what is refused
    {"request_id": "1"},
    {"temperature": 0.5},
    {"top_p": 0.5},
]


@pytest.mark.parametrize("given", AT_THE_LIMIT, ids=lambda given: str(given)[:50])
def test_a_request_at_the_limit_is_accepted(given: dict[str, Any]) -> None:
    assert a_request(**given)


@pytest.mark.parametrize("given", PAST_THE_LIMIT, ids=lambda given: ascii(given)[:50])
def test_a_request_past_the_limit_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_request(**given)


def test_a_request_does_not_change_after_it_was_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_request().tenant = "other"  # type: ignore[misc]


def test_its_dimensions_are_who_asked_never_what() -> None:
    told = a_request(department="security", labels={"site": "osl-01"}).dimensions()
    assert told["department"] == "security"
    assert told["labels"] == {"site": "osl-01"}
    assert not {"messages", "system", "variables"} & told.keys()
    assert told.keys() <= PromptRequest.model_fields.keys()
