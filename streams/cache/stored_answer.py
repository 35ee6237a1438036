"""A paid answer as it is kept: enough to give the payer its very result again."""

from datetime import datetime
from decimal import Decimal
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

    def is_fresh(self, now: datetime) -> bool:
        return now < self.expires_at

    @property
    def size_bytes(self) -> int:
        """What keeping it in memory costs, near enough for a bound."""
        return len(self.answer.text) + 1024
