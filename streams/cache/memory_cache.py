"""L1: answers in this process, bounded by bytes, short-lived, the least recently used leave first."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from streams.cache.port import CacheKey
from streams.cache.stored_answer import StoredAnswer


class MemoryCache:
    """An AnswerCache without a server. `max_age` bounds how long an invalidation elsewhere goes unnoticed here."""

    def __init__(self, max_bytes: int, max_age: timedelta, now: Callable[[], datetime]) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now = now
        self._entries: OrderedDict[CacheKey, tuple[StoredAnswer, datetime]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._bytes

    async def get_many(self, keys: Sequence[CacheKey]) -> list[StoredAnswer | None]:
        now = self._now()
        return [self._get(key, now) for key in keys]

    async def put_many(self, answers: Mapping[CacheKey, StoredAnswer]) -> None:
        now = self._now()
        for key, answer in answers.items():
            self._remove(key)
            if answer.size_bytes <= self._max_bytes:
                self._entries[key] = (answer, min(now + self._max_age, answer.expires_at))
                self._bytes += answer.size_bytes
        while self._bytes > self._max_bytes:
            _, (evicted, _) = self._entries.popitem(last=False)
            self._bytes -= evicted.size_bytes

    def _get(self, key: CacheKey, now: datetime) -> StoredAnswer | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        answer, until = entry
        if now >= until:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return answer

    def _remove(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[0].size_bytes
