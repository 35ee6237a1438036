"""Results as they come: the port that the event streams stand on, and how it refuses."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from schemas.result import PromptResult


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a tenant's results a subscriber wants; None and nothing mean all."""

    labels: tuple[tuple[str, str], ...] = ()
    user_id: str | None = None
    department: str | None = None
    template: str | None = None
    status: str | None = None

    def takes(self, result: PromptResult) -> bool:
        """Whether it is one of them."""
        return (
            self.user_id in {None, result.user_id}
            and self.department in {None, result.department}
            and self.template in {None, result.template}
            and self.status in {None, result.status}
            and all(result.labels.get(name) == value for name, value in self.labels)
        )


class InvalidPositionError(ValueError):
    """The event id was not given out to this tenant."""

    def __init__(self) -> None:
        super().__init__("the event id is not one of this tenant's streams")


class PositionGoneError(Exception):
    """Results behind that event id are no longer kept in Kafka."""


class FeedUnavailableError(Exception):
    """Results cannot be followed now: not connected yet, or too many follow them already."""


class ResultFeed(Protocol):
    """A tenant's results as server-sent events."""

    async def subscribe(self, tenant: str, wanted: Wanted, last_event_id: str | None) -> AsyncIterator[bytes]:
        """Whole frames from behind that event on, or from now on.

        Raises InvalidPositionError, PositionGoneError, FeedUnavailableError.
        """
        ...


class NoFeed:
    """Nothing can be followed."""

    async def subscribe(self, tenant: str, wanted: Wanted, last_event_id: str | None) -> AsyncIterator[bytes]:
        """See ResultFeed."""
        del tenant, wanted, last_event_id
        raise FeedUnavailableError
