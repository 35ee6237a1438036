"""What the model is asked for a request."""

import pytest
from hypothesis import given

from schemas.request import PromptRequest
from schemas.templates import TemplateError
from streams.admission import Admission, Work
from streams.model.prompting import prompt_of
from tests.builders import A_TIME, AN_ID, MODEL, a_request, asking
from tests.unit.events import requests


def test_messages_go_as_they_came() -> None:
    blocks = [{"type": "text", "text": "Review this."}, {"type": "text", "text": "vlan 110", "cache": None}]
    messages = [{"role": "user", "content": blocks}, {"role": "assistant", "content": "Which device?"}]
    prompt = prompt_of(a_request(messages=messages, system="Be short.", max_tokens=77), MODEL)
    assert (prompt.messages, prompt.system, prompt.max_tokens, prompt.model) == (messages, "Be short.", 77, MODEL)


def test_the_request_id_goes_along() -> None:
    assert prompt_of(a_request(), MODEL).request_id == str(AN_ID)


def test_a_request_without_a_system_prompt_has_none() -> None:
    assert prompt_of(a_request(), MODEL).system is None


def test_a_template_is_rendered_into_one_turn() -> None:
    request = a_request(
        template="network-config@1", variables={"device_name": "osl-01", "requirements": "VLAN $device_name"}
    )
    prompt = prompt_of(request, MODEL)
    assert [turn["role"] for turn in prompt.messages] == ["user"]
    assert "Device: osl-01\nContext: none\n" in prompt.messages[0]["content"]
    assert "VLAN $device_name" in prompt.messages[0]["content"]
    assert "network engineer" in (prompt.system or "")


def test_a_template_that_does_not_fit_is_not_asked() -> None:
    with pytest.raises(TemplateError, match="needs config"):
        prompt_of(a_request(template="config-review@1", variables={}), MODEL)


@given(requests())
def test_whatever_is_let_in_can_be_asked(request: PromptRequest) -> None:
    outcome = Admission(MODEL).admit(asking(request), request, A_TIME)
    if isinstance(outcome, Work):
        assert prompt_of(request, outcome.model).messages
