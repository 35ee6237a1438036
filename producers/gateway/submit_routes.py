"""`POST /v1/requests`: read by hand, because the framework's reading of parameters costs more than all our own work."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.gateway.answers import (
    REQUEST_BODY_REF,
    address_of,
    answered,
    json_answer,
    reads_body,
    refused_to_callers,
)
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.documents import Accepted, RequestStatus
from producers.gateway.entrance import lets_in
from producers.gateway.front_desk import LONGEST_WAIT_SECONDS, Call, FrontDesk, Taken
from producers.gateway.status import PENDING
from schemas.topics import Lane


class SubmitQuery(BaseModel):
    """How a request is to be taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lane: Lane = "interactive"
    wait: Annotated[
        float,
        Field(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait here for the result."),
    ] = 0.0


_USUAL: Final = SubmitQuery()
_ACCEPTED: Final = answered("The broker has it; ask for it at `Location`.", Accepted)
_ENDED: Final = answered("It has ended within `wait`.", RequestStatus)
_HEADERS: Final = {
    "Idempotency-Key": (
        "The same key and body give the same id for a day.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
    ),
    "traceparent": ("W3C trace context, passed on to the result.", {"type": "string"}),
}


def submit_routes(desk: FrontDesk, keys: KeyRing) -> APIRouter:
    """Accepts one request at a time."""
    router = APIRouter(tags=["requests"])

    @router.post(
        "/v1/requests",
        status_code=202,
        responses={202: _ACCEPTED, 200: _ENDED, **refused_to_callers(402, 409, 413, 422)},
        openapi_extra=reads_body({"$ref": REQUEST_BODY_REF}) | {"parameters": _parameters()},
        summary="Submit a request",
        operation_id="submit_request",
    )
    async def submit(request: Request, caller: Annotated[Caller, Depends(lets_in(keys, "submit"))]) -> Response:
        asked = _query_of(request)
        call = Call(
            caller,
            address_of(request),
            asked.lane,
            asked.wait,
            request.headers.get("idempotency-key"),
            request.headers.get("traceparent"),
        )
        return answer_of_taken(await desk.take_body(call, await request.body()))

    return router


def answer_of_taken(taken: Taken) -> Response:
    """202 with where to ask, or 200 with the end."""
    accepted = taken.accepted
    headers = dict(taken.headers) | {"Location": f"/v1/requests/{accepted.request_id}"}
    if accepted.repeated:
        headers["Idempotent-Replayed"] = "true"
    if taken.document is not None:
        return json_answer(taken.document, 200, headers)
    document: dict[str, Any] = {
        "request_id": accepted.request_id,
        "status": PENDING,
        "lane": accepted.lane,
        "accepted_at": accepted.accepted_at,
    }
    return json_answer(document, 202, headers)


def _query_of(request: Request) -> SubmitQuery:
    """Raises RequestValidationError, as the framework would."""
    if not request.scope["query_string"]:
        return _USUAL
    try:
        return SubmitQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in error.errors()]) from None


def _parameters() -> list[dict[str, Any]]:
    query = SubmitQuery.model_json_schema()["properties"]
    return [
        *({"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()),
        *(
            {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
            for name, (text, schema) in _HEADERS.items()
        ),
    ]
