"""The demo's fleet: 1,500 requests about 300 devices, written as bulk lines.

`python -m ops.examples.fleet` writes `fleet.jsonl`; the same seed gives the same bytes. About three of five requests
repeat an earlier one: users press the button again, another department asks for the same device, audits come back to
the same site standards.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ops.examples.inventory import ROLES, Device, devices
from ops.examples.wording import context_of, requirements_of, standard_configuration

PATH: Final = Path(__file__).parent / "fleet.jsonl"
REQUESTS: Final = 1500
SEED: Final = 20261102

_TENANT: Final = "meridian"
_MAX_TOKENS: Final = 1500
_CHANGED_WISHES: Final = 90
"""Devices that are asked for again with a different wish."""
_REVIEWED_STANDARDS: Final = 190
"""Standards (one role at one site) that are under review."""
_APPLICATION_OF: Final = {
    "network-engineering": "provisioning-portal",
    "field-operations": "field-app",
    "datacenter": "provisioning-portal",
    "security": "policy-review",
    "compliance": "nightly-audit",
}
_ASKS_FOR_CONFIGS: Final = ("network-engineering", "field-operations", "datacenter")
_ASKS_FOR_REVIEWS: Final = ("security", "compliance", "network-engineering")
_SHARE_ASKED_AGAIN_BY_THE_SAME: Final = 0.3

Line = dict[str, Any]


def fleet(seed: int = SEED) -> list[Line]:
    """Every request in the order it is asked; `PromptRequest` fields without `request_id` and `accepted_at`."""
    dice = random.Random(seed)  # noqa: S311 - examples, not secrets
    asked = list(_first_time(dice))
    dice.shuffle(asked)
    while len(asked) < REQUESTS:
        _ask_again(asked, dice)
    return asked


def _first_time(dice: random.Random) -> Iterator[Line]:
    fleet_devices = devices(dice)
    for device in fleet_devices:
        yield _configuration_wanted(device, 0, dice)
    for device in dice.sample(fleet_devices, _CHANGED_WISHES):
        yield _configuration_wanted(device, dice.randint(1, 3), dice)
    standards = sorted({(device.site, device.role.name): device for device in fleet_devices}.items())
    for _, device in dice.sample(standards, _REVIEWED_STANDARDS):
        yield _review_wanted(device, dice)


def _configuration_wanted(device: Device, change: int, dice: random.Random) -> Line:
    variables = {"device_name": device.name, "requirements": requirements_of(device, change)}
    if context := context_of(device, change):
        variables["user_context"] = context
    labels = {"device_name": device.name, "site": device.site, "role": device.role.name}
    return _line(dice.choice(_ASKS_FOR_CONFIGS), labels, "network-config@1", variables, dice)


def _review_wanted(device: Device, dice: random.Random) -> Line:
    labels = {"device_name": f"{device.site}-{device.role.short}-std", "site": device.site, "role": device.role.name}
    variables = {"config": standard_configuration(device)}
    return _line(dice.choice(_ASKS_FOR_REVIEWS), labels, "config-review@1", variables, dice)


def _line(
    department: str, labels: dict[str, str], template: str, variables: dict[str, str], dice: random.Random
) -> Line:
    return {
        "tenant": _TENANT,
        **_who(department, dice),
        "labels": labels,
        "max_tokens": _MAX_TOKENS,
        "template": template,
        "variables": variables,
    }


def _who(department: str, dice: random.Random) -> dict[str, str]:
    user = f"u-{list(_APPLICATION_OF).index(department) + 1}{dice.randint(1, 12):02d}"
    return {"department": department, "user_id": user, "application": _APPLICATION_OF[department]}


def _ask_again(asked: list[Line], dice: random.Random) -> None:
    """Insert one repetition somewhere behind a request it repeats."""
    first = dice.randrange(len(asked))
    again = dict(asked[first])
    if dice.random() < _SHARE_ASKED_AGAIN_BY_THE_SAME:
        place = min(first + dice.randint(1, 12), len(asked))
    else:
        wanted_by = _ASKS_FOR_CONFIGS if again["template"] == "network-config@1" else _ASKS_FOR_REVIEWS
        again |= _who(dice.choice(wanted_by), dice)
        place = dice.randint(first + 1, len(asked))
    asked.insert(place, again)


def text() -> str:
    """The file's content."""
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in fleet())


if __name__ == "__main__":
    PATH.write_text(text())
    print(f"wrote {PATH.name}: {REQUESTS} requests, {len(ROLES)} roles")
