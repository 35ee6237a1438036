"""L1: answers in this process, bounded by bytes, short-lived, the least recently used leave first."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from streams.cache.port import CacheKey
from streams.cache.stored_answer import CacheEntry


class MemoryCache:
    """An AnswerCache without a server. `max_age` bounds how long an invalidation elsewhere goes unnoticed here."""

    def __init__(self, max_bytes: int, max_age: timedelta, now: Callable[[], datetime]) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now = now
        self._entries: OrderedDict[CacheKey, tuple[CacheEntry, int]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._bytes

    async def get_many(self, keys: Sequence[CacheKey]) -> list[CacheEntry | None]:
        now_ms = _milliseconds(self._now())
        return [self._get(key, now_ms) for key in keys]

    async def put_many(self, entries: Mapping[CacheKey, CacheEntry]) -> None:
        until_ms = _milliseconds(self._now() + self._max_age)
        for key, entry in entries.items():
            self._remove(key)
            size = entry.size_bytes
            if size <= self._max_bytes:
                self._entries[key] = (entry, min(until_ms, entry.expires_at_ms))
                self._bytes += size
        while self._bytes > self._max_bytes:
            _, (evicted, _) = self._entries.popitem(last=False)
            self._bytes -= evicted.size_bytes

    def _get(self, key: CacheKey, now_ms: int) -> CacheEntry | None:
        found = self._entries.get(key)
        if found is None:
            return None
        entry, until_ms = found
        if now_ms >= until_ms:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _remove(self, key: CacheKey) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._bytes -= found[0].size_bytes


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
