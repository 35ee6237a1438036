"""The gateway dies while it takes work in."""

import time
from typing import Any, Final
from uuid import UUID

from ops.chaos.fault import Fault
from ops.chaos.load import Accepted, Load, LoadShape
from ops.chaos.stage import Stage, StageError
from ops.chaos.uploads import PatientUpload
from ops.chaos.verdict import Expectation
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS
from streams.gateway.local_keys import LOCAL_TENANT

_GATEWAY: Final = "gateway"
_ITEMS: Final = 10_000
_QUESTIONS: Final = 1_000
"""Different ones among the items: a model call each, or near it."""
_UPLOAD_SECONDS: Final = 4.0
_DEATHS: Final = (0.3, 0.85, 0.6)
"""Shares of each attempt after which the gateway is killed."""
_ATTEMPT_SECONDS: Final = 60.0


def _kill_gateway(stage: Stage, load: Load) -> None:
    load.guests.append(LOCAL_TENANT)
    questions = [load.question(number, LOCAL_TENANT) for number in range(_QUESTIONS)]
    items = [_item(questions[number % _QUESTIONS]) for number in range(_ITEMS)]
    upload = PatientUpload(stage.endpoints[_GATEWAY], items, _UPLOAD_SECONDS)
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


FAULTS: Final = (
    Fault(
        "gateway-killed",
        "the gateway killed three times during an upload of 10,000 items that is sent again each time",
        _kill_gateway,
        shape=LoadShape(requests=100, seconds=5, latency_seconds=0.1),
        expects=Expectation(lag_seconds=180),
        settings={"gateway_waiting_limit": 1_000_000},
        own_stage=True,
    ),
)
