"""The gateway dies while it takes work in."""

import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ops.bench.gateway_process import STAND_STOP, stand_command
from ops.chaos.fault import Fault
from ops.chaos.load import Accepted, Load, LoadShape
from ops.chaos.stage import Stage, StageError
from ops.chaos.uploads import PatientUpload
from ops.chaos.verdict import Expectation
from ops.local.home import Home
from ops.local.part import Part
from ops.local.plan import Plan, Step
from ops.local.ports import LOOPBACK, accepts_connections, choose_port
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS

_GATEWAY: Final = "gateway"
_ITEMS: Final = 10_000
_QUESTIONS: Final = 1_000
"""Different ones among the items: a model call each, or near it."""
_UPLOAD_SECONDS: Final = 4.0
_DEATHS: Final = (0.3, 0.85, 0.6)
"""Shares of each attempt after which the gateway is killed."""
_ATTEMPT_SECONDS: Final = 60.0
_MOST_ROUNDS: Final = 50


def with_gateway(home: Home, plan: Plan) -> Plan:
    """The usual stack and the gateway's bulk routes before it; each round's tenant has a key."""
    port = choose_port()
    address = f"{LOOPBACK}:{port}"
    environment = next(step.work.command.environment for step in plan.steps if step.work.name == "worker-1")
    keys = {_key_of(tenant): tenant for tenant in (f"chaos-gateway-killed-{each}" for each in range(1, _MOST_ROUNDS))}
    command = stand_command(environment, keys, port, Path(home.root) / "gateway.json")
    part = Part(_GATEWAY, "gateway", command, address, lambda: accepts_connections(port), STAND_STOP)
    steps = (*plan.steps, Step(part, ("migrate", "topics")))
    return Plan(steps, {**plan.endpoints, _GATEWAY: address}, plan.rehearsed)


def _kill_gateway(stage: Stage, load: Load) -> None:
    questions = [load.question(number) for number in range(_QUESTIONS)]
    items = [_item(questions[number % _QUESTIONS]) for number in range(_ITEMS)]
    upload = PatientUpload(stage.endpoints[_GATEWAY], _key_of(load.tenant), items, _UPLOAD_SECONDS)
    upload.start()
    try:
        for deaths, share in enumerate(_DEATHS):
            stage.until(
                lambda deaths=deaths, share=share: upload.attempts > deaths and upload.sent_share >= share,  # type: ignore[misc]
                _ATTEMPT_SECONDS,
                f"{share:.0%} of an upload",
            )
            stage.kill(_GATEWAY)
            stage.until(lambda: upload.sent_share == 0.0, _ATTEMPT_SECONDS, "the next attempt")
        stage.until(lambda: upload.receipt is not None, _ATTEMPT_SECONDS, "the upload to be taken in")
    finally:
        upload.stop()
    _enter(load, upload.verdicts(), questions)


def _enter(load: Load, verdicts: list[dict[str, Any]], questions: list[PromptRequest]) -> None:
    """The book of what was accepted. Where its records lie is known to the gateway alone, if at all."""
    ids = [UUID(each["request_id"]) for each in verdicts if each["status"] == "accepted"]
    if len(ids) != _ITEMS:
        raise StageError(f"{len(ids)} of {_ITEMS} items were accepted")
    for number, request_id in enumerate(ids):
        request = questions[number % _QUESTIONS].model_copy(update={"request_id": request_id})
        load.accepted.append(Accepted(request, BULK_REQUESTS, -1, -1, time.time()))


def _item(question: PromptRequest) -> dict[str, Any]:
    return question.model_dump(mode="json", include={"department", "model", "max_tokens", "messages"})


def _key_of(tenant: str) -> str:
    return f"hr_{tenant}"


FAULTS: Final = (
    Fault(
        "gateway-killed",
        "the gateway killed three times during an upload of 10,000 items that is sent again each time",
        _kill_gateway,
        shape=LoadShape(requests=100, seconds=5, latency_seconds=0.1),
        expects=Expectation(lag_seconds=180),
        plan=with_gateway,
    ),
)
