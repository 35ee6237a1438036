"""When so much is set aside that the fault is ours: stop, rather than drain a topic into the bin. Pure."""

from collections import deque
from itertools import repeat
from typing import Final

LOOK_COMMAND: Final = "headrace dead-letters list"


class DeadLetterLimit:
    """Fed with each record taken, in order: whether it became a dead letter."""

    def __init__(
        self, max_share: float = 0.5, window_records: int = 1000, max_run: int = 200, min_records: int = 200
    ) -> None:
        """More than `max_share` of `window_records`, once `min_records` were seen, or `max_run` one after another."""
        self._max_share = max_share
        self._max_run = max_run
        self._min_records = min_records
        self._window: deque[bool] = deque(maxlen=window_records)
        self._dead = 0
        self._run = 0
        self.problem: str | None = None
        """Once passed: what was seen and what to do. It stays: one good record does not make a bad deployment good."""

    def feed(self, is_dead_letter: bool) -> bool:
        """Whether the limit is passed; then stop."""
        if len(self._window) == self._window.maxlen:
            self._dead -= self._window[0]
        self._window.append(is_dead_letter)
        self._dead += is_dead_letter
        self._run = self._run + 1 if is_dead_letter else 0
        if self.problem is None:
            self.problem = self._seen()
        return self.problem is not None

    def feed_good(self, records: int) -> None:
        """So many records in a row that did not become dead letters: the usual case, counted at once."""
        if not records:
            return
        self._run = 0
        if self._dead == 0:
            self._window.extend(repeat(False, records))
            return
        for _ in range(records):
            self.feed(False)

    def _seen(self) -> str | None:
        taken = len(self._window)
        if self._run >= self._max_run:
            return _advice(f"the last {self._run} records, one after another, became dead letters")
        if taken >= self._min_records and self._dead > self._max_share * taken:
            return _advice(f"{self._dead} of the last {taken} records became dead letters")
        return None


def _advice(seen: str) -> str:
    return (
        f"{seen}: the producer or this version is wrong, so the rest stays on its topic. "
        f"See what they are: {LOOK_COMMAND}; put right what made them, start again, then: headrace dead-letters redrive"
    )
