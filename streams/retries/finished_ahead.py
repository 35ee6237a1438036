"""What is finished beyond the committed offset, as text that is committed beside it.

A request that waits four minutes holds the committed offset back, while later ones that waited one minute are long
done. A restart would send those again; with this note it knows them. Runs of offsets, counted from the offset itself:
"1+3,2+1" is one unfinished, three finished, two unfinished, one finished.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

LONGEST_NOTE: Final = 4_000
"""The broker's own bound, `offset.metadata.max.bytes`, is 4,096. What does not fit may be sent twice."""

_PREFIX: Final = "ahead:"
_RUN: Final = re.compile(r"(\d{1,9})\+(\d{1,6})")
_MOST_OFFSETS: Final = 1_000_000


def note_of(next_offset: int, finished: Iterable[int]) -> str:
    """The note for these offsets, all at or past `next_offset`; empty where there are none."""
    runs: list[str] = []
    length, cursor = len(_PREFIX), next_offset
    for first, count in _runs(sorted(finished)):
        run = f"{first - cursor}+{count}"
        length += len(run) + 1
        if length > LONGEST_NOTE:
            break
        runs.append(run)
        cursor = first + count
    return _PREFIX + ",".join(runs) if runs else ""


def finished_in(next_offset: int, note: str | None) -> frozenset[int]:
    """The offsets of a note; none where it is not one of ours."""
    finished: set[int] = set()
    if not (note or "").startswith(_PREFIX):
        return frozenset()
    cursor = next_offset
    for text in (note or "").removeprefix(_PREFIX).split(","):
        run = _RUN.fullmatch(text)
        if run is None or len(finished) + int(run[2]) > _MOST_OFFSETS:
            return frozenset()
        first = cursor + int(run[1])
        cursor = first + int(run[2])
        finished.update(range(first, cursor))
    return frozenset(finished)


def _runs(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    # Within a run of neighbours, the value less its place in line stays the same.
    for _, group in groupby(enumerate(offsets), key=lambda placed: placed[1] - placed[0]):
        run = [offset for _, offset in group]
        yield run[0], len(run)
