"""Results as server-sent events: all of a tenant's, or the steps of one request to its end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final, Literal, Protocol
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response

from producers.gateway.answers import refused_to_callers
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.entrance import lets_in
from producers.gateway.feed import (
    FeedUnavailableError,
    InvalidPositionError,
    PositionGoneError,
    ResultFeed,
    Wanted,
)
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas
from producers.gateway.sse import EVENT_STREAM, HEARTBEAT_SECONDS, STREAM_HEADERS, frame, heartbeat
from producers.gateway.streaming import Streamed
from producers.gateway.waiting import ResultWaiter

_LOOK_SECONDS: Final = 1.0
_ENDED: Final = frozenset({"completed", "failed", "rejected", "expired", "cancelled"})
_MOST_LABELS: Final = 16
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events, until either side ends them.",
        "content": {EVENT_STREAM: {}},  # frames, which no schema of ours describes
    }
}

Status = Literal["completed", "failed", "rejected", "expired", "cancelled"]
Text = Annotated[str | None, Query(max_length=128)]
Labels = Annotated[list[Annotated[str, Query(max_length=330)]], Query(max_length=_MOST_LABELS)]
# All headers together have 16 KiB.
LastEventId = Annotated[str | None, Header(max_length=15_000)]


class StatusSource(Protocol):
    """How a request stands now."""

    async def status(self, tenant: str, request_id: UUID) -> Mapping[str, Any]:
        """Its document, with `status` in it. Raises Problem 404, 503."""
        ...


def stream_routes(
    feed: ResultFeed, waiter: ResultWaiter, source: StatusSource, keys: KeyRing, quotas: Quotas | None = None
) -> APIRouter:
    """`GET /v1/results/stream` and `GET /v1/requests/{id}/events`."""
    routes = APIRouter(tags=["streams"])
    reads = Depends(lets_in(keys, "read", quotas=quotas))

    @routes.get("/v1/results/stream", responses=_STREAM | refused_to_callers(410), operation_id="stream_results")
    async def results(
        caller: Annotated[Caller, reads],
        label: Labels = [],  # noqa: B006 - FastAPI copies it
        user: Text = None,
        department: Text = None,
        template: Text = None,
        status: Status | None = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        """The tenant's results as they come; `label=name:value`, several must all be there."""
        wanted = Wanted(_labels(label), user, department, template, status)
        try:
            frames = await feed.subscribe(caller.tenant, wanted, last_event_id)
        except InvalidPositionError:
            raise _invalid() from None
        except PositionGoneError:
            raise _gone() from None
        except FeedUnavailableError:
            raise _unavailable() from None
        return _stream(frames)

    ended = {204: {"description": "The client has seen the end."}}

    @routes.get(
        "/v1/requests/{request_id}/events",
        responses=_STREAM | ended | refused_to_callers(404),
        operation_id="stream_request",
    )
    async def events(request_id: UUID, caller: Annotated[Caller, reads], last_event_id: LastEventId = None) -> Response:
        """Each change of the request's status, to its end. A client that has seen the end is told not to come again."""
        status = str((await source.status(caller.tenant, request_id))["status"])
        if last_event_id in _ENDED:
            return Response(status_code=204)
        return _stream(_steps(waiter, source, caller.tenant, request_id, status, last_event_id))

    return routes


async def _steps(
    waiter: ResultWaiter, source: StatusSource, tenant: str, request_id: UUID, status: str, seen: str | None
) -> AsyncIterator[bytes]:
    """The status is the event's id: a client that comes again is not told again what it has seen."""
    told, quiet = seen, 0.0
    with waiter.expecting(tenant, request_id) as expected:
        # Asked again now that the result is listened for: it may have come in between.
        status = await _status(source, tenant, request_id) or status
        while True:
            if status != told:
                yield frame("status", orjson.dumps({"request_id": str(request_id), "status": status}), status)
                told, quiet = status, 0.0
            if status in _ENDED:
                return
            if quiet >= HEARTBEAT_SECONDS:
                yield heartbeat()
                quiet = 0.0
            result = await expected.result(_LOOK_SECONDS)
            quiet += _LOOK_SECONDS
            if result is not None:
                status = result.status
            else:
                status = await _status(source, tenant, request_id) or status
                await asyncio.sleep(0)


async def _status(source: StatusSource, tenant: str, request_id: UUID) -> str | None:
    """None while the store is away: the result itself comes another way."""
    try:
        return str((await source.status(tenant, request_id))["status"])
    except Problem:
        return None


def _labels(given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [label.partition(":") for label in given]
    if not all(separator for _, separator, _ in pairs):
        raise Problem(400, "invalid_request", "label: has the form name:value", "Correct it and send it again.")
    return tuple(sorted((name, value) for name, _, value in pairs))


def _stream(frames: AsyncIterator[bytes]) -> Response:
    return Streamed(frames, EVENT_STREAM, STREAM_HEADERS)


def _invalid() -> Problem:
    detail = "Last-Event-ID is not the id of an event that this tenant was sent"
    return Problem(400, "invalid_event_id", detail, "Connect without it: the stream begins now.")


def _gone() -> Problem:
    detail = "results behind that event are no longer kept in the topic"
    return Problem(410, "event_id_expired", detail, "Connect without it, and look older results up: GET /v1/requests.")


def _unavailable() -> Problem:
    headers = {"Retry-After": "2"}
    return Problem(503, "stream_unavailable", "results cannot be followed now", "Connect again later.", headers=headers)
