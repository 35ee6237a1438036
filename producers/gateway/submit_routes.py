"""`POST /v1/requests`."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response

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

_ACCEPTED: Final = answered("The broker has it; ask for it at `Location`.", Accepted)
_ENDED: Final = answered("It has ended within `wait`.", RequestStatus)
_BODY: Final = reads_body({"$ref": REQUEST_BODY_REF})


def submit_routes(desk: FrontDesk, keys: KeyRing) -> APIRouter:
    """Accepts one request at a time."""
    router = APIRouter(tags=["requests"])

    @router.post(
        "/v1/requests",
        status_code=202,
        responses={202: _ACCEPTED, 200: _ENDED, **refused_to_callers(402, 409, 413, 422)},
        openapi_extra=_BODY,
        summary="Submit a request",
        operation_id="submit_request",
    )
    async def submit(
        request: Request,
        caller: Annotated[Caller, Depends(lets_in(keys, "submit"))],
        lane: Lane = "interactive",
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)] = 0.0,
        idempotency_key: Annotated[str | None, Header()] = None,
        traceparent: Annotated[str | None, Header()] = None,
    ) -> Response:
        call = Call(caller, address_of(request), lane, wait, idempotency_key, traceparent)
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
