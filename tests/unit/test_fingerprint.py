"""Two requests share an answer exactly when everything that decides it is equal."""

import hashlib
import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.canonical import CANONICAL_VERSION
from schemas.fingerprint import fingerprint_of, partition_key
from schemas.request import PromptRequest
from schemas.templates import TEMPLATES
from tests.unit.events import A_TIME, a_request, requests

MODEL = "claude-haiku-5-5"


def templated(**given: Any) -> PromptRequest:
    return a_request(
        **({"template": "network-config@1", "variables": {"device_name": "a", "requirements": "b"}} | given)
    )


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.text(max_size=9), min_size=2), st.randoms())
def test_the_order_of_variables_does_not_matter(variables: dict[str, str], random: Any) -> None:
    shuffled = list(variables.items())
    random.shuffle(shuffled)
    assert fingerprint_of(templated(variables=variables), MODEL) == fingerprint_of(
        templated(variables=dict(shuffled)), MODEL
    )


@pytest.mark.parametrize(
    "other",
    [
        a_request(tenant="other"),
        a_request(max_tokens=1025),
        a_request(system="Be brief."),
        a_request(system=""),
        a_request(messages=[{"role": "user", "content": "hello "}]),
        a_request(messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}]),
        a_request(messages=[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]),
        templated(),
        templated(template="network-config@2"),
        templated(variables={"device_name": "a", "requirements": "c"}),
        templated(variables={"device_name": "b", "requirements": "a"}),
    ],
    ids=lambda other: str(other.model_dump(include={"tenant", "max_tokens", "system", "template", "variables"}))[:60],
)
def test_everything_that_decides_the_answer_counts(other: PromptRequest) -> None:
    assert fingerprint_of(other, MODEL) != fingerprint_of(a_request(), MODEL)


def test_no_two_of_the_differing_questions_are_confused() -> None:
    texts = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ('a","b', "c"), ("a", 'b","c')]
    asked = [templated(variables={"device_name": name, "requirements": wish}) for name, wish in texts]
    assert len({fingerprint_of(request, MODEL) for request in asked}) == len(texts)


def test_the_model_that_will_be_asked_counts_not_the_one_that_was_named() -> None:
    unnamed, named = a_request(), a_request(model=MODEL)
    assert fingerprint_of(unnamed, MODEL) == fingerprint_of(named, MODEL)
    assert fingerprint_of(unnamed, MODEL) != fingerprint_of(unnamed, "claude-sonnet-5-5")


@pytest.mark.parametrize(
    "who",
    [
        {"request_id": uuid4()},
        {"department": "security"},
        {"user_id": "u-1"},
        {"application": "portal"},
        {"labels": {"site": "osl-01"}},
        {"deadline": A_TIME},
        {"accepted_at": A_TIME},
        {"cache": {"mode": "refresh", "ttl_seconds": 5, "freshness": "volatile"}},
    ],
    ids=lambda who: next(iter(who)),
)
def test_who_asked_and_when_does_not_count(who: dict[str, Any]) -> None:
    assert fingerprint_of(a_request(**who), MODEL) == fingerprint_of(a_request(), MODEL)


@settings(max_examples=30, deadline=None)
@given(requests())
def test_a_fingerprint_is_64_hexadecimal_digits_and_survives_the_wire(request: PromptRequest) -> None:
    found = fingerprint_of(request, MODEL)
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")
    assert fingerprint_of(PromptRequest.model_validate_json(request.model_dump_json()), MODEL) == found
    assert partition_key(request) == fingerprint_of(request, request.model or "").encode()


@given(requests(), st.text(max_size=20))
def test_what_is_hashed_is_canonical_json(request: PromptRequest, model: str) -> None:
    """Written by hand in part, so held to what the encoder writes; else stored answers would be lost by a change."""
    if request.template is not None:
        question: object = [request.template, request.variables]
    else:
        question = [request.system, [[turn.role, turn.content] for turn in request.messages or ()]]
    if request.template in TEMPLATES:
        return
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
    canonical = encoder.encode([2, request.tenant, model, request.max_tokens, question])
    assert fingerprint_of(request, model) == hashlib.sha256(canonical.encode()).hexdigest()


@given(requests())
def test_the_key_is_the_fingerprint_under_the_named_model(request: PromptRequest) -> None:
    assert partition_key(request) == fingerprint_of(request, request.model or "").encode()


@pytest.mark.parametrize("name", ["osl-01-acc-03", "vlan10", "x"])
def test_the_key_of_a_template_is_its_fingerprint_with_and_without_the_device(name: str) -> None:
    request = templated(variables={"device_name": name, "requirements": "VLANS 30, 10"}, model=MODEL)
    assert partition_key(request) == fingerprint_of(request, MODEL).encode()


@given(st.dictionaries(st.sampled_from(["device_name", "requirements", "user_context", "x"]), st.text(max_size=12)))
def test_what_is_hashed_of_a_template_is_canonical_json(variables: dict[str, str]) -> None:
    request = templated(variables=variables)
    template = TEMPLATES["network-config@1"]
    known, left_out = template.canonical_variables(variables), template.exchangeable({"device_name": "", **variables})
    rest = {name: value for name, value in known.items() if name not in left_out}
    question: list[object] = [template.reference, rest, CANONICAL_VERSION]
    if left_out:
        question += ["without", list(left_out)]
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
    canonical = encoder.encode([2, request.tenant, MODEL, request.max_tokens, question])
    if "device_name" in variables:
        assert fingerprint_of(request, MODEL) == hashlib.sha256(canonical.encode()).hexdigest()
