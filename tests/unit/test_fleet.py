"""The demo's fleet is what its generator says, and as large and as repetitive as promised."""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from ops.examples import fleet
from schemas.request import PromptRequest
from schemas.templates import template_named

LINES: list[dict[str, Any]] = [json.loads(line) for line in fleet.PATH.read_text().splitlines()]


def test_the_committed_file_is_what_the_generator_writes() -> None:
    assert fleet.PATH.read_text() == fleet.text(), "run: python -m ops.examples.fleet"


def test_it_has_the_promised_size() -> None:
    assert len(LINES) == 1500
    assert fleet.PATH.stat().st_size < 2_500_000
    assert len({line["department"] for line in LINES}) == 5
    assert len({line["labels"]["site"] for line in LINES}) == 40
    assert len({line["labels"]["role"] for line in LINES}) == 12
    named = {line["variables"]["device_name"] for line in LINES if line["template"] == "network-config@1"}
    assert len(named) == 300


def test_both_templates_are_asked_for_often() -> None:
    asked = Counter(line["template"] for line in LINES)
    assert asked.keys() == {"network-config@1", "config-review@1"}
    assert min(asked.values()) > 300


def test_three_of_five_requests_repeat_an_earlier_one() -> None:
    unique = {json.dumps([line["template"], line["variables"]], sort_keys=True) for line in LINES}
    assert 0.55 <= 1 - len(unique) / len(LINES) <= 0.70


def test_requirements_speak_of_what_networks_are_made_of() -> None:
    wishes = " ".join(line["variables"].get("requirements", "") for line in LINES)
    for subject in ("VLAN", "GigabitEthernet", "ACL", "NTP", "Syslog", "OSPF", "BGP"):
        assert subject in wishes
    assert any("user_context" in line["variables"] for line in LINES)


@pytest.mark.parametrize("start", range(0, 1500, 300))
def test_every_line_is_a_request_that_its_template_takes(start: int) -> None:
    for line in LINES[start : start + 300]:
        assert not {"request_id", "accepted_at"} & line.keys()
        request = PromptRequest.model_validate(line | {"request_id": uuid4()})
        assert request.user_id
        assert request.labels.keys() == {"device_name", "site", "role"}
        assert template_named(request.template or "").render(request.variables).user
