"""How much waits already: the port that says whether more may be taken in."""

from dataclasses import dataclass
from typing import Literal, Protocol

from schemas.topics import Lane

OverloadCode = Literal["broker_away", "backlog", "tenant_backlog"]


@dataclass(frozen=True, slots=True)
class Overload:
    """Why nothing more is taken in now, and when that may be over."""

    code: OverloadCode
    retry_after_seconds: float


class Load(Protocol):
    """Judges from figures at hand; it never asks a server while a caller waits."""

    def overload(self, tenant: str, lane: Lane) -> Overload | None:
        """None where there is room."""
        ...

    def note_accepted(self, tenant: str, lane: Lane, requests: int) -> None:
        """Taken in since the figures were taken."""
        ...

    def note_broker_silent(self) -> None:
        """The broker did not confirm in time: it is away until it is seen again."""
        ...


class NoLoad:
    """Always room."""

    def overload(self, tenant: str, lane: Lane) -> Overload | None:
        del tenant, lane
        return None

    def note_accepted(self, tenant: str, lane: Lane, requests: int) -> None:
        """Nothing is counted."""

    def note_broker_silent(self) -> None:
        """Nothing is remembered."""
