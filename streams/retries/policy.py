"""When a request whose failure may pass is tried again. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One delay before each further attempt; a request that has used them all up fails."""

    delays: tuple[timedelta, ...] = (_MINUTE, 2 * _MINUTE, 4 * _MINUTE)

    @classmethod
    def of_seconds(cls, *delays_seconds: float) -> "RetryPolicy":
        return cls(tuple(timedelta(seconds=seconds) for seconds in delays_seconds))

    def next_due(self, attempts: int, now: datetime, deadline: datetime | None = None) -> datetime | None:
        """When to try again after `attempts` (at least 1) have failed.

        None: never, the delays are used up or the request's own deadline would have passed.
        """
        if not 1 <= attempts <= len(self.delays):
            return None
        due_at = now + self.delays[attempts - 1]
        return None if deadline is not None and due_at >= deadline else due_at
