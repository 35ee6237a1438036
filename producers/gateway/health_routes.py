"""`/livez`, `/readyz`, `/metrics` and the documents: open to whoever can connect, and silent about tenants."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Response

from producers.gateway.answers import answered, json_answer, refused
from producers.gateway.health import Health
from producers.gateway.problems import Problem, answer_of
from schemas.asyncapi import asyncapi_document

Metrics = Callable[[], tuple[bytes, str]]
"""What `/metrics` says, and its media type."""


_READINESS: Final[dict[int | str, dict[str, Any]]] = {
    200: answered("Requests are accepted; `degraded` says what is away nevertheless."),
    **refused(503),
}
_METRICS: Final[dict[str, Any]] = {
    "description": "Prometheus' text format.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


def health_routes(health: Health, metrics: Metrics) -> APIRouter:
    """Tells whether this copy lives, whether it is ready, and its figures."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez", responses={200: answered("It answers.")}, operation_id="livez")
    async def livez() -> Response:
        return json_answer({"live": True})

    @router.get("/readyz", responses=_READINESS, operation_id="readyz")
    async def readyz() -> Response:
        return ready_answer(health)

    @router.get("/metrics", operation_id="metrics", responses={200: _METRICS})
    async def figures() -> Response:
        body, media_type = metrics()
        return Response(body, media_type=media_type)

    return router


def document_routes() -> APIRouter:
    """The contract of the topics; that of HTTP is the framework's own `/openapi.json`."""
    document: dict[str, Any] = asyncapi_document()
    router = APIRouter(tags=["operations"])

    @router.get("/asyncapi.json", responses={200: answered("AsyncAPI 3.")}, operation_id="asyncapi")
    async def asyncapi() -> Response:
        return json_answer(document)

    return router


def ready_answer(health: Health) -> Response:
    """200 with what is degraded, or 503 with what is missing."""
    missing, degraded = health.missing(), health.degraded()
    if not missing:
        return json_answer({"ready": True, "degraded": degraded})
    names = ", ".join(missing)
    return answer_of(
        Problem(
            503,
            "not_ready",
            f"requests cannot be accepted without: {names}",
            "See `missing`; nothing that was accepted is lost.",
            headers={"Retry-After": "2"},
            ready=False,
            missing=missing,
            degraded=degraded,
        )
    )
