"""A paid answer as it is kept: bytes that a result for another request takes over unparsed.

Most lookups are hits by requests that did not pay. Their result differs from others only in who asks and when, so the
answer's JSON is stored as it will be sent, and the parts only the payer's own result needs are stored beside it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple, Self
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.result import Answer, Usage
from schemas.validation import Validation

EVERYONE: Final = "everyone"
NOBODY_ELSE: Final = "payer"
_UNCHECKED: Final = "-"
_RENEWED: Final = "renewed"


class StoredAnswer(BaseModel):
    """One paid answer. `cost_usd` is None when the price was unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    answer: Answer
    model: str
    requested_model: str | None = None
    """Where `model` answered in its place."""
    usage: Usage
    cost_usd: Decimal | None
    paid_by: UUID
    attempts: int
    started_at: AwareDatetime
    completed_at: AwareDatetime
    model_ms: int
    expires_at: AwareDatetime
    validation: Validation | None = None


class CacheEntry(NamedTuple):
    """A stored answer in bytes.

    `shared` is a JSON object with the members of a result that are the same for every request it answers;
    `paid` is one with the members that only the payer's result has. `audience` says whom it may be served: everyone
    who asks under its key, those of one own fingerprint, or the payer alone. In an answer for everyone the values that
    its fingerprint leaves out stand as single control bytes, 0 for the first: JSON text never holds one.
    """

    expires_at_ms: int
    paid_by: str
    shared: bytes
    paid: bytes
    asked_at_ms: int = 0
    audience: str = EVERYONE
    checked: str = _UNCHECKED
    """The check that it has passed, `name@version`."""
    renewed: bool = False
    """Whether it took the place of an answer that another may have paid for."""

    @classmethod
    def of(cls, stored: StoredAnswer, audience: str = EVERYONE, left_out: Sequence[str] = ()) -> Self:
        """`left_out`: the values to be exchanged, where it is for everyone."""
        members = stored.model_dump(mode="json", exclude_none=True)
        shared = {name: members.pop(name) for name in ("answer", "model", "paid_by")}
        if stored.requested_model is not None:
            shared["requested_model"] = members.pop("requested_model")
        if stored.cost_usd is not None:
            shared["saved_usd"] = members["cost_usd"]
        validation = stored.validation
        return cls(
            _milliseconds(stored.expires_at),
            str(stored.paid_by),
            _with_holes(shared, left_out) if left_out and audience == EVERYONE else _json(shared),
            _json(members),
            _milliseconds(stored.started_at),
            audience,
            _UNCHECKED if validation is None else f"{validation.validator}@{validation.version}",
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError for bytes that `to_bytes` did not write."""
        head, shared, paid = data.split(b"\n", 2)
        expires_at_ms, paid_by, asked_at_ms, audience, checked, *more = head.decode("ascii").split(" ")
        if more not in ([], [_RENEWED]):
            raise ValueError("the head of a stored answer says more than this version knows")
        return cls(int(expires_at_ms), paid_by, shared, paid, int(asked_at_ms), audience, checked, bool(more))

    def to_bytes(self) -> bytes:
        head = f"{self.expires_at_ms} {self.paid_by} {self.asked_at_ms} {self.audience} {self.checked}"
        if self.renewed:
            head = f"{head} {_RENEWED}"
        return b"%s\n%s\n%s" % (head.encode("ascii"), self.shared, self.paid)

    def filled(self, left_out: Sequence[str]) -> "CacheEntry":
        """The same answer for one who left these values out; they stand in JSON as they are."""
        if not left_out or self.audience != EVERYONE:
            return self
        shared = self.shared
        for number, value in enumerate(left_out):
            shared = shared.replace(bytes([number]), value.encode("ascii"))
        return self._replace(shared=shared)

    def answer(self) -> Answer:
        """The answer alone; holes must have been filled."""
        return Answer.model_validate(orjson.loads(self.shared)["answer"])

    def stored(self) -> StoredAnswer:
        """The answer with everything that is known of it; holes must have been filled."""
        expires_at = datetime.fromtimestamp(self.expires_at_ms / 1000, UTC)
        members = {"cost_usd": None, **orjson.loads(self.shared), **orjson.loads(self.paid), "expires_at": expires_at}
        return StoredAnswer.model_validate(members)

    @property
    def size_bytes(self) -> int:
        """What keeping it in memory costs, near enough for a bound."""
        return len(self.shared) + len(self.paid) + 640


def _with_holes(shared: dict[str, object], left_out: Sequence[str]) -> bytes:
    """`shared` as JSON, the values in the answer's text as control bytes."""
    answer = shared["answer"]
    assert isinstance(answer, dict)  # noqa: S101 - as `Answer` is dumped
    hole_of = {value: bytes([number]) for number, value in enumerate(left_out)}
    pieces = re.split("(" + "|".join(map(re.escape, hole_of)) + ")", answer["text"])
    text = b"".join(hole_of[piece] if number % 2 else _json(piece)[1:-1] for number, piece in enumerate(pieces))
    head, tail = b'{"answer":{"text":"', _json(shared | {"answer": answer | {"text": ""}})
    return head + text + tail[len(head) :]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _json(members: object) -> bytes:
    return orjson.dumps(members)
