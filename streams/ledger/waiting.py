"""How long to wait before asking again for a key another holds. Pure: randomness is passed in."""

from collections.abc import Callable, Iterator
from typing import Final

_FIRST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 1.0


def waits_seconds(random: Callable[[], float]) -> Iterator[float]:
    """Waits without end: doubling from 0.05 s to 1 s, each shortened by up to a quarter so that waiters spread.

    `random` gives numbers from 0 up to 1.
    """
    wait = _FIRST_SECONDS
    while True:
        yield wait * (1 - random() / 4)
        wait = min(2 * wait, _LONGEST_SECONDS)
