"""How often and how long a call is tried again: by Retry-After where the gateway says it, else with longer pauses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Dice = Callable[[], float]
"""A number from 0 to 1, below 1."""

_MOST_JITTER_SECONDS: Final = 1.0
_MOST_DOUBLINGS: Final = 16


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of what one call tries: attempts in all, and seconds from the first failure to the last attempt."""

    attempts: int = 6
    total_seconds: float = 60.0
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 8.0
    """Of pauses of our own; a Retry-After is kept to, or given up on where it passes `total_seconds`."""

    def pause_seconds(
        self, attempt: int, failing_seconds: float, retry_after_seconds: float | None, dice: Dice
    ) -> float | None:
        """How long to wait after attempt number `attempt` failed; None is to give up.

        A Retry-After gets a little more, never less: those who were refused together do not come again together.
        """
        if attempt >= self.attempts:
            return None
        if retry_after_seconds is None:
            doubled = self.first_pause_seconds * 2 ** min(attempt - 1, _MOST_DOUBLINGS)
            pause = min(self.longest_pause_seconds, doubled) * (0.5 + dice() / 2)
        else:
            pause = retry_after_seconds + dice() * min(_MOST_JITTER_SECONDS, retry_after_seconds / 4)
        return pause if failing_seconds + pause <= self.total_seconds else None
