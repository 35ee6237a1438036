"""Calls as plain values, and what came back.

Each may be sent again: it reads, ends what can end only once, or carries an Idempotency-Key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from producers.client.errors import Told, unreadable
from schemas.request import PromptRequest

D = TypeVar("D", bound=BaseModel)
Pairs = tuple[tuple[str, str], ...]

_LONGEST_TOLD: Final = 500
_GIVEN_BY_THE_GATEWAY: Final = frozenset({"request_id", "tenant", "accepted_at"})


class Content(Protocol):
    """A body that is sent piece by piece, and again from its beginning."""

    @property
    def size_bytes(self) -> int:
        """All of it."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """From the beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the gateway; `waits_seconds` is how much longer than usual its answer may take."""

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | Content | None = None
    waits_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said; the names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or half of one; `reason` is ours, a library's words may hold an address with its password."""

    reason: str


Outcome = Answer | Lost


class _ProblemDocument(BaseModel):
    model_config = ConfigDict(extra="ignore")

    code: str
    detail: str
    next: str
    request_id: UUID | None = None
    job: UUID | None = None


def told_by(outcome: Outcome) -> Told:
    """What is known of a failure."""
    if isinstance(outcome, Lost):
        next_step = "See whether the gateway runs and its address is right; what has a key may be sent again."
        return Told(0, "unreachable", outcome.reason, next_step)
    retry_after = retry_after_seconds(outcome)
    try:
        problem = _ProblemDocument.model_validate_json(outcome.body)
    except ValidationError:
        detail = f"HTTP {outcome.status}, and not in the words of a gateway"
        next_step = "See what stands between here and the gateway."
        return Told(outcome.status, "not_a_gateway", detail, next_step, retry_after_seconds=retry_after)
    detail, next_step = problem.detail[:_LONGEST_TOLD].rstrip("."), problem.next[:_LONGEST_TOLD]
    return Told(outcome.status, problem.code, detail, next_step, problem.request_id, problem.job, retry_after)


def retry_after_seconds(answer: Answer) -> float | None:
    """Seconds, also of a date, which is counted from the answer's own; None where there is none to read."""
    said = answer.headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
        return max(0.0, (until - _date_of(answer)).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def _date_of(answer: Answer) -> datetime:
    return parsedate_to_datetime(answer.headers["date"])


def read(model: type[D], text: bytes, status: int = 200) -> D:
    """The document; what a newer gateway says beside it is passed over. Raises UnreadableAnswerError."""
    try:
        return model.model_validate_json(text, extra="ignore")
    except ValidationError:
        pass
    raise unreadable(status)  # outside, because the library's words repeat what could not be read


def body_of(request: PromptRequest | Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that are sent: of a whole request without those that the gateway gives."""
    if isinstance(request, PromptRequest):
        return request.model_dump(mode="json", exclude_none=True, exclude=set(_GIVEN_BY_THE_GATEWAY))
    return request


def new_key() -> str:
    """An Idempotency-Key of its own."""
    return str(uuid4())


def pairs_of(fields: Mapping[str, object]) -> Pairs:
    """A query without what is None."""
    return tuple((name, _text(value)) for name, value in fields.items() if value is not None)


def labelled(labels: Mapping[str, str] | None) -> Pairs:
    """A query for labels."""
    return tuple(("label", f"{name}:{value}") for name, value in (labels or {}).items())


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
