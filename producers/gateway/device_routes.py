"""The routes that existing callers use, `/api/*`: thin, over the same core as `/v1`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from producers.gateway.answers import (
    address_of,
    answered,
    json_answer,
    reads_body,
    refused,
    refused_to_callers,
)
from producers.gateway.bodies import object_in
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.device_desk import MOST_DEVICES, DeviceDesk
from producers.gateway.documents import DeviceJob, DeviceJobs, DeviceJobStatus
from producers.gateway.entrance import lets_in
from producers.gateway.front_desk import Call
from producers.gateway.health import Health
from producers.gateway.health_routes import ready_answer
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas

_DEVICE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["device_name", "requirements"],
    "properties": {
        "device_name": {"type": "string", "minLength": 1},
        "requirements": {"type": "string", "minLength": 1},
        "user_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 128},
        "department": {"type": ["string", "null"], "minLength": 1, "maxLength": 128},
    },
}
# One that is none is rejected alone.
_ANY_DEVICE: Final = {"anyOf": [_DEVICE, {}]}
_DEVICES: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["requests"],
    "properties": {"requests": {"type": "array", "minItems": 1, "maxItems": MOST_DEVICES, "items": _ANY_DEVICE}},
}


def device_routes(desk: DeviceDesk, keys: KeyRing, anonymous: Caller | None, quotas: Quotas | None = None) -> APIRouter:
    """Configurations of devices; `anonymous` is who calls without a key, None where nobody may."""
    router = APIRouter(prefix="/api", tags=["devices"])

    @router.post(
        "/generate-config",
        status_code=202,
        responses={202: answered("It is being made.", DeviceJob), **refused_to_callers(402, 413)},
        openapi_extra=reads_body(_DEVICE),
        operation_id="generate_config",
    )
    async def generate(
        request: Request, caller: Annotated[Caller, Depends(lets_in(keys, "submit", anonymous))]
    ) -> Response:
        body = await request.body()
        document, headers = await desk.generate(Call(caller, address_of(request)), object_in(body), len(body))
        return json_answer(document, 202, dict(headers))

    @router.post(
        "/bulk-generate",
        status_code=202,
        responses={202: answered("Some are being made.", DeviceJobs), **refused_to_callers(402, 413)},
        openapi_extra=reads_body(_DEVICES),
        operation_id="bulk_generate",
    )
    async def generate_all(
        request: Request, caller: Annotated[Caller, Depends(lets_in(keys, "submit", anonymous))]
    ) -> Response:
        body = await request.body()
        call = Call(caller, address_of(request), lane="bulk")
        document, headers = await desk.generate_all(call, _devices_in(object_in(body)), len(body))
        return json_answer(document, 202, dict(headers))

    @router.get(
        "/job-status/{job_id}",
        responses={200: answered("How it stands.", DeviceJobStatus), **refused_to_callers(404)},
        operation_id="job_status",
    )
    async def job_status(
        job_id: UUID, caller: Annotated[Caller, Depends(lets_in(keys, "read", anonymous, quotas=quotas))]
    ) -> Response:
        return json_answer(await desk.status(caller.tenant, job_id))

    return router


def device_health_routes(health: Health) -> APIRouter:
    """`/api/health`, open as `/readyz` is."""
    router = APIRouter(prefix="/api", tags=["operations"])

    @router.get("/health", operation_id="api_health", responses={200: answered("It is well."), **refused(503)})
    async def api_health() -> Response:
        if health.missing():
            return ready_answer(health)
        return json_answer({"status": "degraded" if health.degraded() else "healthy", "degraded": health.degraded()})

    return router


def _devices_in(fields: Mapping[str, Any]) -> list[Any]:
    devices = fields.get("requests")
    if not isinstance(devices, list) or not 0 < len(devices) <= MOST_DEVICES:
        detail = f"requests: is a list of 1 to {MOST_DEVICES} devices"
        raise Problem(400, "invalid_request", detail, "Send more in several calls, or use POST /v1/bulk.")
    return devices
