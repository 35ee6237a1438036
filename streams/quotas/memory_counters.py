"""Counts in memory: for tests, and while the shared ones are away. The script in Redis does the same."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from streams.quotas.port import Counted
from streams.quotas.rules import DAY_SECONDS, JOB_SECONDS, Bucket, JobPlaces, Level

_REMEMBERED: Final = 100_000
"""Buckets; the one that was used longest ago is forgotten first."""

_CLOCK_GRAIN_SECONDS: Final = 2e-6
"""Moments are kept to the microsecond: whoever waited as long as it was told is not refused for a rounding."""


class MemoryCounters:
    """See `Counters`. `now` in seconds since the epoch: days begin where UTC's do."""

    def __init__(self, now: Callable[[], float], remembered: int = _REMEMBERED) -> None:
        self._now = now
        self._remembered = remembered
        # Of a rate, when it will be full again; of a total, its day and what is used of it.
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._used: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._jobs: dict[str, dict[str, float]] = {}

    async def take(self, buckets: Sequence[Bucket]) -> Counted:
        now = self._now()
        levels = tuple(self._level(bucket, now, bucket.cost) for bucket in buckets)
        if any(level.wait_seconds > 0 for level in levels):
            return Counted(
                tuple(self._refused(bucket, now, level) for bucket, level in zip(buckets, levels, strict=True))
            )
        for bucket in buckets:
            self._take(bucket, now)
        return Counted(levels)

    async def take_place(self, places: Sequence[JobPlaces], job: str) -> JobPlaces | None:
        now = self._now()
        for place in places:
            running = self._jobs.setdefault(place.owner, {})
            for old in [name for name, since in running.items() if since <= now - JOB_SECONDS]:
                del running[old]
            if job not in running and len(running) >= place.limit:
                return place
        for place in places:
            self._jobs[place.owner].setdefault(job, now)
        return None

    async def give_place(self, places: Sequence[JobPlaces], job: str) -> None:
        for place in places:
            running = self._jobs.get(place.owner, {})
            running.pop(job, None)
            if not running:
                self._jobs.pop(place.owner, None)

    def _refused(self, bucket: Bucket, now: float, level: Level) -> Level:
        """The level of a bucket that was not taken from."""
        untouched = self._level(bucket, now, 0)
        return Level(untouched.remaining, untouched.reset_seconds, level.wait_seconds)

    def _level(self, bucket: Bucket, now: float, cost: int) -> Level:
        if bucket.kind == "total":
            day, used = self._used.get((bucket.name, bucket.owner), (0, 0))
            used = (used if day == now // DAY_SECONDS else 0) + cost
            until_midnight = DAY_SECONDS - now % DAY_SECONDS
            wait = until_midnight if cost and used > bucket.limit else 0.0
            return Level(max(0, int(bucket.limit - used)), until_midnight, wait)
        gap = 1 / bucket.limit
        full_at = max(self._full_at.get((bucket.name, bucket.owner), now), now) + cost * gap
        remaining = math.floor(bucket.burst - (full_at - now) / gap + 1e-6)
        wait = full_at - now - bucket.burst * gap
        return Level(
            max(0, remaining), full_at - now, wait if cost and wait > gap * 1e-6 + _CLOCK_GRAIN_SECONDS else 0.0
        )

    def _take(self, bucket: Bucket, now: float) -> None:
        name = (bucket.name, bucket.owner)
        if bucket.kind == "total":
            day, used = self._used.pop(name, (0, 0))
            today = int(now // DAY_SECONDS)
            self._used[name] = (today, (used if day == today else 0) + bucket.cost)
        else:
            self._full_at[name] = max(self._full_at.pop(name, now), now) + bucket.cost / bucket.limit
        for kept in (self._used, self._full_at):
            while len(kept) > self._remembered:
                kept.popitem(last=False)
