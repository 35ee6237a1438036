"""Taking a request back: the same event as `headrace cancel` publishes."""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from producers.gateway.callers import Caller
from producers.gateway.problems import Problem
from producers.gateway.status import PENDING, Json, StatusDesk
from producers.publisher import Publisher, PublisherClosedError, PublishError
from schemas.codec import encode_cancel
from schemas.control import CancelRequest

_ENDING: Final = {"Retry-After": "2"}


class Canceller:
    """Cancels requests of a caller's own tenant."""

    def __init__(self, publisher: Publisher, desk: StatusDesk, now: Callable[[], datetime]) -> None:
        self._publisher = publisher
        self._desk = desk
        self._now = now

    async def cancel(self, caller: Caller, request_id: UUID) -> Json:
        """Return when the broker has the cancellation. Raises Problem 404, 409 where it has ended, 503."""
        document = await self._desk.status(caller.tenant, request_id)
        if document["status"] not in {PENDING, "processing", "retrying"}:
            detail = f"the request has ended: it is {document['status']}"
            raise Problem(409, "already_ended", detail, "Nothing is left to cancel.", request_id=request_id)
        event = CancelRequest(request_id=request_id, tenant=caller.tenant, by=f"key {caller.key_id}", at=self._now())
        try:
            await self._publisher.publish([encode_cancel(event)])
        except (PublishError, PublisherClosedError):
            detail = "the broker did not confirm the cancellation"
            raise Problem(
                503, "broker_away", detail, "Cancel it again.", headers=_ENDING, request_id=request_id
            ) from None
        return {"request_id": request_id, "status": "cancelling"}
