"""The one way records get into Kafka from asyncio: the port, and how it fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.record import OutgoingRecord


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record the broker did not confirm, and why. It may still have been written when the reason is a timeout."""

    record: OutgoingRecord
    reason: str


class PublishError(Exception):
    """Some records were not confirmed: `refusals` says which. All others of the call are in the topic."""

    def __init__(self, refusals: Sequence[Refusal], attempted: int) -> None:
        self.refusals = tuple(refusals)
        reasons = sorted({f"{refusal.record.topic}: {refusal.reason}" for refusal in refusals})
        super().__init__(
            f"{len(self.refusals)} of {attempted} records were not confirmed ({'; '.join(reasons[:3])}). "
            "Publish the refused ones again, or see `headrace status` for the broker's health."
        )


class PublisherClosedError(RuntimeError):
    """`publish` after `close`: build a new publisher."""

    def __init__(self) -> None:
        super().__init__("this publisher is closed; build a new one to publish again")


class Publisher(Protocol):
    """Writes records and waits for the broker. Records of one call with one key keep their order."""

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Return when the broker has confirmed every record.

        Raises PublishError when it refused some or did not answer in time, PublisherClosedError after `close`.
        """

    async def close(self) -> None:
        """Wait for what is under way, then let go of the connection. Safe to repeat."""
