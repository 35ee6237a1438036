"""Waiting for a result: the port to the results feed, used by `?wait=`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from uuid import UUID

from schemas.result import PromptResult


class Expected(Protocol):
    """A result that is listened for."""

    async def result(self, within_seconds: float) -> PromptResult | None:
        """The result, once it is there; None when the time is over."""
        ...


class ResultWaiter(Protocol):
    """Knows which results come in on this copy of the gateway."""

    def expecting(self, tenant: str, request_id: UUID) -> AbstractContextManager[Expected]:
        """Listen while the block runs. Begun before the request is published: its result may be there at once."""
        ...


class NoResults:
    """Hears of no result: whoever waits is answered 202 at once and asks again."""

    @contextmanager
    def expecting(self, tenant: str, request_id: UUID) -> Iterator[Expected]:
        del tenant, request_id
        yield self

    async def result(self, within_seconds: float) -> PromptResult | None:
        del within_seconds
        return None
