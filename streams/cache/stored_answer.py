"""A paid answer as it is kept: bytes that a result for another request takes over unparsed.

Most lookups are hits by requests that did not pay. Their result differs from others only in who asks and when, so the
answer's JSON is stored as it will be sent, and the parts only the payer's own result needs are stored beside it.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.result import Answer, Usage


class StoredAnswer(BaseModel):
    """One paid answer. `cost_usd` is None when the price was unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    answer: Answer
    model: str
    usage: Usage
    cost_usd: Decimal | None
    paid_by: UUID
    attempts: int
    started_at: AwareDatetime
    completed_at: AwareDatetime
    model_ms: int
    expires_at: AwareDatetime


class CacheEntry(NamedTuple):
    """A stored answer in bytes.

    `shared` is a JSON object with the members of a result that are the same for every request it answers;
    `paid` is one with the members that only the payer's result has.
    """

    expires_at_ms: int
    paid_by: str
    shared: bytes
    paid: bytes

    @classmethod
    def of(cls, stored: StoredAnswer) -> Self:
        members = stored.model_dump(mode="json", exclude_none=True)
        shared = {name: members.pop(name) for name in ("answer", "model", "paid_by")}
        if stored.cost_usd is not None:
            shared["saved_usd"] = members["cost_usd"]
        return cls(int(stored.expires_at.timestamp() * 1000), str(stored.paid_by), _json(shared), _json(members))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError for bytes that `to_bytes` did not write."""
        head, shared, paid = data.split(b"\n", 2)
        expires_at_ms, paid_by = head.split(b" ", 1)
        return cls(int(expires_at_ms), paid_by.decode(), shared, paid)

    def to_bytes(self) -> bytes:
        return b"%d %s\n%s\n%s" % (self.expires_at_ms, self.paid_by.encode(), self.shared, self.paid)

    def stored(self) -> StoredAnswer:
        """The answer with everything that is known of it."""
        expires_at = datetime.fromtimestamp(self.expires_at_ms / 1000, UTC)
        members = {"cost_usd": None, **json.loads(self.shared), **json.loads(self.paid), "expires_at": expires_at}
        return StoredAnswer.model_validate(members)

    @property
    def size_bytes(self) -> int:
        """What keeping it in memory costs, near enough for a bound."""
        return len(self.shared) + len(self.paid) + 512


def _json(members: dict[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
