"""Configurations of devices, as the old routes ask for them: requests of the template `network-config@1`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from producers.gateway.front_desk import Call, FrontDesk, Headers
from producers.gateway.problems import Problem
from producers.gateway.status import PENDING, Json, StatusDesk
from producers.gateway.submitting import Submitter
from schemas.request import PromptRequest
from schemas.templates.network_config import NETWORK_CONFIG

MOST_DEVICES: Final = 1000
"""In one call; more go through POST /v1/bulk."""

_ASKED_FOR: Final = ("device_name", "requirements")
_TOLD_BY_CALLER: Final = ("user_id", "department")
_LONGEST_LABEL: Final = 256


class DeviceDesk:
    """What the `/api` routes call."""

    def __init__(self, front: FrontDesk, submitter: Submitter, desk: StatusDesk) -> None:
        self._front = front
        self._submitter = submitter
        self._desk = desk

    async def generate(self, call: Call, fields: Mapping[str, Any], size_bytes: int) -> tuple[Json, Headers]:
        """Accept one. Raises Problem; 400 names what is missing."""
        taken = await self._front.take_fields(call, _request_fields(fields), size_bytes)
        job = {"job_id": taken.accepted.request_id, "status": PENDING, "device_name": fields["device_name"]}
        return job, taken.headers

    async def generate_all(self, call: Call, devices: Sequence[Any], size_bytes: int) -> tuple[Json, Headers]:
        """Accept those that can be, all in one round trip. Raises Problem, 400 where none can be."""
        requests: list[PromptRequest] = []
        rejected: list[Json] = []
        for index, fields in enumerate(devices):
            try:
                requests.append(self._checked(call, fields))
            except Problem as problem:
                rejected.append({"index": index, "error": problem.detail})
        if not requests:
            raise Problem(
                400, "invalid_request", f"requests: {rejected[0]['error']}", "Correct them.", rejected=rejected
            )
        headers = await self._publish(call, requests, size_bytes)
        jobs = [
            {"job_id": each.request_id, "status": PENDING, "device_name": each.variables["device_name"]}
            for each in requests
        ]
        return {"status": PENDING, "accepted": len(jobs), "jobs": jobs, "rejected": rejected}, headers

    async def status(self, tenant: str, job_id: UUID) -> Json:
        """How one stands. Raises Problem 404, 503."""
        document = await self._desk.status(tenant, job_id)
        answer, error = document["answer"], document["error"]
        return {
            "job_id": job_id,
            "status": document["status"],
            "device_name": document["labels"].get("device_name"),
            "result": None if answer is None else answer["text"],
            "error": None if error is None else error["message"] or error["code"],
            "created_at": document["timing"]["accepted_at"],
            "completed_at": document["timing"]["completed_at"],
        }

    def _checked(self, call: Call, fields: Any) -> PromptRequest:
        if not isinstance(fields, dict):
            raise _invalid("is not a JSON object")
        return self._submitter.new_request(call.caller, _request_fields(fields))

    async def _publish(self, call: Call, requests: Sequence[PromptRequest], size_bytes: int) -> Headers:
        headers = await self._front.spend(call, len(requests), size_bytes, None)
        tenant = call.caller.tenant
        self._submitter.check_load(tenant, call.lane)
        for payer in {(each.department, each.user_id): each for each in requests}.values():
            await self._submitter.check_budget(payer)
        await self._submitter.publish(tenant, requests, call.lane)
        return headers


def _request_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields beside those that we know are left alone, as the old service did. Raises Problem 400."""
    if missing := [name for name in _ASKED_FOR if not fields.get(name)]:
        raise _invalid("; ".join(f"{name}: is missing" for name in missing))
    if wrong := [name for name in _ASKED_FOR if not isinstance(fields[name], str)]:
        raise _invalid("; ".join(f"{name}: is not a string" for name in wrong))
    device = fields["device_name"]
    return {
        **{name: fields[name] for name in _TOLD_BY_CALLER if fields.get(name) is not None},
        "template": NETWORK_CONFIG.reference,
        "variables": {name: fields[name] for name in _ASKED_FOR},
        "labels": {"device_name": device} if len(device) <= _LONGEST_LABEL else {},
    }


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid_request", detail, "Correct the named fields and send it again.")
