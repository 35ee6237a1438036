"""The check of network configurations: what was asked for is there, for the device that asked; nothing else counts."""

from typing import Any

import pytest

from schemas.request import PromptRequest
from schemas.result import Answer
from schemas.templates import TEMPLATES
from streams.validation import checked, passed, validator_of
from tests.builders import a_request

GOOD = """!
hostname osl-01-acc-03
vlan 110
 name users
interface GigabitEthernet1/0/1
 switchport access vlan 110
banner login ^
Authorised use only.
^
end"""


def asking(requirements: str = "VLAN 110 on GigabitEthernet1/0/1", name: str = "osl-01-acc-03") -> PromptRequest:
    return a_request(template="network-config@1", variables={"device_name": name, "requirements": requirements})


def problems(request: PromptRequest, text: str, stop_reason: str = "end_turn") -> list[str]:
    found = checked(request, Answer(text=text, stop_reason=stop_reason))
    assert found is not None
    assert found.valid == (not found.problems)
    return found.problems


@pytest.mark.parametrize(
    ("requirements", "text"),
    [
        ("VLAN 110 on GigabitEthernet1/0/1", GOOD),
        ("vlans 110 and 120", GOOD + "\nvlan 120"),
        ("VLANs 110-112", GOOD + "\nvlan 111-112"),
        ("VLANs 110, 120, 130", GOOD + "\nvlan 110,120,130"),
        ("VLAN 120 on Gi1/0/1", GOOD + "\ninterface Vlan120"),
        ("VLAN 120", GOOD + "\ninterface GigabitEthernet0/0.120\n encapsulation dot1Q 120"),
        ("ports Gi1/0/5", GOOD + "\ninterface range GigabitEthernet1/0/1 - 44"),
        ("Te1/1/1 and Te1/1/2", GOOD + "\ninterface range Te1/1/1, Te1/1/2"),
        ("No VLAN 999 on GigabitEthernet9/9/9", GOOD),
        ("SSH only", GOOD),
    ],
)
def test_a_configuration_with_all_that_was_asked_for_is_valid(requirements: str, text: str) -> None:
    assert problems(asking(requirements), text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD.replace("hostname osl-01-acc-03\n", ""), "it sets no hostname"),
        (GOOD.replace("acc-03", "acc-04"), "its hostname is not the device's name"),
        (GOOD.replace("acc-03", "ACC-03"), "its hostname is not the device's name"),
        (GOOD.replace("110", "111"), "VLAN 110 is missing"),
        (GOOD.replace("GigabitEthernet1/0/1", "GigabitEthernet1/0/11"), "interface gi1/0/1 is missing"),
        (f"```\n{GOOD}\n```", "it has code fences"),
        (f"Here is the configuration:\n{GOOD}", "line 1 is no configuration command"),
        ("", "it sets no hostname"),
    ],
)
def test_what_is_missing_or_wrong_is_told(text: str, problem: str) -> None:
    assert problem in problems(asking(), text)


def test_a_configuration_that_was_cut_off_is_not_valid() -> None:
    assert problems(asking(), GOOD, "max_tokens") == ["the answer is cut off at max_tokens"]


def test_at_most_five_problems_are_told() -> None:
    assert len(problems(asking("VLANs 1, 2, 3, 4, 5, 6, 7"), GOOD)) == 5


@pytest.mark.parametrize(
    "given", [{}, {"template": "config-review@1", "variables": {"config": "x"}}, {"template": "x@1"}]
)
def test_where_no_check_is_named_nothing_is_said(given: dict[str, Any]) -> None:
    request_ = a_request(**given)
    assert checked(request_, Answer(text=GOOD)) is None
    assert passed(request_) is None


def test_every_template_names_a_check_that_there_is() -> None:
    for reference, template in TEMPLATES.items():
        request = a_request(template=reference)
        assert (validator_of(request) is not None) == (template.validator is not None)
