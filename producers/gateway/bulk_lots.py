"""Items of an upload in lots: what is written down at once, and the digest by which a second upload is known again."""

import hashlib
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final, NamedTuple

from producers.bulk_split import RawItem, Splitter

LOT_ITEMS: Final = 1000
"""A cut upload goes on at the beginning of a lot; items have numbers from 1, so lots are the same each time."""
MOST_ITEMS: Final = 100_000


class TooManyItemsError(Exception):
    """The upload has more than MOST_ITEMS items; the first ones are in lots already given."""


class Lot(NamedTuple):
    """Items in their order from number `first` on; `content` digests them and all before them."""

    first: int
    items: Sequence[RawItem]
    content: bytes

    @property
    def last(self) -> int:
        return self.first + len(self.items) - 1


async def lots_in(upload: AsyncIterable[bytes], splitter: Splitter) -> AsyncIterator[Lot]:
    """The lots of an upload as they come in; all but the last have LOT_ITEMS items.

    Raises BulkFileError, TooManyItemsError.
    """
    waiting: list[RawItem] = []
    first, content = 1, b""
    async for data in upload:
        waiting += splitter.feed(data)
        while len(waiting) >= LOT_ITEMS:
            lot, waiting = waiting[:LOT_ITEMS], waiting[LOT_ITEMS:]
            if first + LOT_ITEMS - 1 > MOST_ITEMS:
                raise TooManyItemsError
            content = digest_of(content, lot)
            yield Lot(first, lot, content)
            first += LOT_ITEMS
    waiting += splitter.end()
    for at in range(0, len(waiting), LOT_ITEMS):
        lot = waiting[at : at + LOT_ITEMS]
        if first + len(lot) - 1 > MOST_ITEMS:
            raise TooManyItemsError
        content = digest_of(content, lot)
        yield Lot(first, lot, content)
        first += len(lot)


def digest_of(before: bytes, items: Sequence[RawItem]) -> bytes:
    """SHA-256 over what came before, every item's length, and the items."""
    digest = hashlib.sha256(before)
    digest.update(array("L", [len(item.raw) for item in items]).tobytes())
    digest.update(b"".join(item.raw for item in items))
    return digest.digest()
