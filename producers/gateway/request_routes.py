"""`GET /v1/requests/{id}`, `DELETE` and the list."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from producers.gateway.answers import answered, json_answer, refused_to_callers
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.cancelling import Canceller
from producers.gateway.documents import Cancelling, RequestPage, RequestStatus
from producers.gateway.entrance import lets_in
from producers.gateway.lookup import Known, LiveStatus, Place, Wanted
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas
from producers.gateway.status import StatusDesk, document_of
from schemas.request import MAX_LABELS

MOST_LISTED: Final = 200
_USUALLY_LISTED: Final = 50
_LONGEST_CURSOR: Final = 200
_DATE_AND_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]", re.ASCII)

_STATUS: Final = answered("How it stands.", RequestStatus)
_CANCELLING: Final = answered("The cancellation is published; the request ends once, either way.", Cancelling)
_PAGE: Final = answered("The newest first.", RequestPage)
_Text = Annotated[str | None, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


def _as_text(moment: object) -> object:
    """Left to itself, the library takes a number for seconds since 1970."""
    if isinstance(moment, str) and not _DATE_AND_TIME.match(moment):
        raise ValueError("is a date and time with its zone: 2026-01-31T12:00:00Z")
    return moment


_Moment = Annotated[AwareDatetime, BeforeValidator(_as_text)]


class Asked(BaseModel):
    """The query of a list."""

    model_config = ConfigDict(extra="forbid")

    user: _Text = None
    department: _Text = None
    device: _Text = None
    status: LiveStatus | None = None
    since: _Moment | None = None
    label: Annotated[list[str], Field(max_length=MAX_LABELS, description="`name:value`; may be repeated.")] = []
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = _USUALLY_LISTED
    cursor: Annotated[str | None, Field(max_length=_LONGEST_CURSOR)] = None

    def wanted(self, tenant: str) -> Wanted:
        """What the store is asked. Raises Problem 400."""
        return Wanted(
            tenant,
            self.limit,
            user_id=self.user,
            department=self.department,
            device=self.device,
            status=self.status,
            since=None if self.since is None else _in_utc(self.since),
            labels=dict(_label_in(each) for each in self.label) or None,
            after=None if self.cursor is None else _place_in(self.cursor),
        )


def request_routes(desk: StatusDesk, canceller: Canceller, keys: KeyRing, quotas: Quotas | None = None) -> APIRouter:
    """Tells of requests and takes them back."""
    router = APIRouter(tags=["requests"])

    @router.get(
        "/v1/requests/{request_id}",
        responses={200: _STATUS, **refused_to_callers(404)},
        summary="How a request stands",
        operation_id="get_request",
    )
    async def status(
        request_id: UUID, caller: Annotated[Caller, Depends(lets_in(keys, "read", quotas=quotas))]
    ) -> Response:
        return json_answer(await desk.status(caller.tenant, request_id))

    @router.delete(
        "/v1/requests/{request_id}",
        status_code=202,
        responses={202: _CANCELLING, **refused_to_callers(404, 409)},
        summary="Cancel a request",
        operation_id="cancel_request",
    )
    async def cancel(
        request_id: UUID, caller: Annotated[Caller, Depends(lets_in(keys, "submit", quotas=quotas))]
    ) -> Response:
        return json_answer(await canceller.cancel(caller, request_id), 202)

    @router.get(
        "/v1/requests",
        responses={200: _PAGE, **refused_to_callers()},
        summary="List requests",
        operation_id="list_requests",
    )
    async def page(
        caller: Annotated[Caller, Depends(lets_in(keys, "read", quotas=quotas))], asked: Annotated[Asked, Query()]
    ) -> Response:
        return json_answer(_page_document(await desk.page(asked.wanted(caller.tenant)), asked.limit))

    return router


def _page_document(found: list[Known], limit: int) -> dict[str, Any]:
    last = found[-1].stored if len(found) == limit else None
    return {
        "requests": [document_of(each.stored, each.calls) for each in found if each.stored is not None],
        "next_cursor": None if last is None else _cursor_at(Place(last.accepted_at, last.request_id)),
    }


def _cursor_at(place: Place) -> str:
    text = f"{place.accepted_at.isoformat()} {place.request_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place_in(cursor: str) -> Place:
    """Raises Problem 400."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        moment, _, request_id = text.partition(" ")
        return Place(_in_utc(datetime.fromisoformat(moment)), UUID(request_id))
    except (ValueError, binascii.Error):
        raise Problem(
            400, "invalid_cursor", "cursor: is none of ours", "Take `next_cursor` of the page before."
        ) from None


def _in_utc(moment: datetime) -> datetime:
    """Raises Problem 400 for a moment that no calendar of ours has."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Problem(400, "invalid_request", "since: is out of range", "Correct it and ask again.") from None


def _label_in(text: str) -> tuple[str, str]:
    """Raises Problem 400."""
    name, colon, value = text.partition(":")
    if not name or not colon or "\0" in text:
        raise Problem(400, "invalid_request", "label: is `name:value`", "Correct it and ask again.")
    return name, value
