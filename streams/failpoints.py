"""Places where a fault test ends the process at once. Empty unless set; production settings refuse them."""

import os
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

Place = Literal["before_claim", "before_call", "after_reply", "after_settle", "after_publish"]


class Failpoints:
    """`{place: n}`: the n-th passage through `place` kills the process, as `kill -9` would.

    `{place: "name=value"}`: every passage of a request with that label does.
    """

    def __init__(self, kill_at: Mapping[str, int | str] | None = None) -> None:
        unknown = set(kill_at or {}) - set(get_args(Place))
        if unknown:
            raise ValueError(f"unknown failpoints {sorted(unknown)}; known: {', '.join(get_args(Place))}")
        self._kill_at = dict(kill_at or {})
        self._passed: Counter[str] = Counter()

    def reach(self, place: Place, labels: Mapping[str, str] | None = None) -> None:
        if not self._kill_at:
            return
        self._passed[place] += 1
        marks = {f"{name}={value}" for name, value in (labels or {}).items()}
        if self._kill_at.get(place) in {self._passed[place], *marks}:
            os.kill(os.getpid(), signal.SIGKILL)
