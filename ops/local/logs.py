"""A part's log, read from its end."""

import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.2
_BLOCK_BYTES = 64 * 1024


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines, without reading the whole of a long log."""
    with log.open("rb") as file:
        position = file.seek(0, 2)
        tail = b""
        while position > 0 and tail.count(b"\n") <= count:
            step = min(_BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            tail = file.read(step) + tail
    return tail.decode(errors="replace").splitlines()[-count:] if count else []


def added_to(log: Path) -> Iterator[str]:
    """What is written from now on; never ends by itself."""
    with log.open(errors="replace") as file:
        file.seek(0, 2)
        while True:
            text = file.read()
            if text:
                yield text
            else:
                time.sleep(_POLL_SECONDS)
