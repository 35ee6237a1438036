"""Rate limits as the API keeps them: token buckets for requests, input and output tokens, told in headers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from ops.rehearsal.settings import Limits

_UNLIMITED: Final = 1_000_000_000
_PREFIX: Final = "anthropic-ratelimit-"


@dataclass(slots=True)
class Bucket:
    """Refills at `per_minute`, holds at most `capacity`; `level` is as of `updated_at` (seconds of any clock)."""

    per_minute: float
    capacity: float
    level: float
    updated_at: float

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.updated_at) * self.per_minute / 60)
        self.updated_at = now

    def wait_seconds(self, amount: float) -> float:
        """Until `amount` is there; a demand above the capacity waits for a full bucket."""
        return max(0.0, (min(amount, self.capacity) - self.level) * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        self.level -= min(amount, self.capacity)

    def give_back(self, amount: float) -> None:
        self.level = min(self.capacity, self.level + amount)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call takes: its input, and `max_tokens` of output until the true number is known."""

    input_tokens: int
    output_tokens: int


class RateLimiter:
    """Strict: a call that one bucket cannot pay takes from none. Clocks (`now`, in seconds) are passed in."""

    def __init__(self, limits: Limits | None, now: float) -> None:
        limits = limits or Limits()
        minute_share = limits.burst_seconds / 60
        self._requests = _bucket(limits.requests_per_minute, minute_share, now)
        self._input = _bucket(limits.input_tokens_per_minute, minute_share, now)
        self._output = _bucket(limits.output_tokens_per_minute, minute_share, now)
        self._limited = any((self._requests, self._input, self._output))

    def admit(self, demand: Demand, now: float) -> float:
        """Take the demand and return 0, or take nothing and return the seconds to wait."""
        if not self._limited:
            return 0.0
        wanted = [
            (bucket, amount)
            for bucket, amount in (
                (self._requests, 1),
                (self._input, demand.input_tokens),
                (self._output, demand.output_tokens),
            )
            if bucket is not None
        ]
        for bucket, _ in wanted:
            bucket.refill(now)
        wait = max(bucket.wait_seconds(amount) for bucket, amount in wanted)
        if wait <= 0:
            for bucket, amount in wanted:
                bucket.take(amount)
        return wait

    def settle(self, demand: Demand, output_tokens: int) -> None:
        """Give back what of the reserved output was not used."""
        if self._output is not None:
            reserved = min(demand.output_tokens, self._output.capacity)
            self._output.give_back(max(0.0, reserved - output_tokens))

    def headers(self, now: float, wall_seconds: float) -> dict[str, str]:
        """The `anthropic-ratelimit-*` headers; `wall_seconds` is the Unix time they are relative to."""
        if not self._limited:
            return _unlimited_headers(int(wall_seconds))
        told = {
            "requests": self._requests,
            "input-tokens": self._input,
            "output-tokens": self._output,
            "tokens": self._input or self._output,
        }
        headers: dict[str, str] = {}
        for name, bucket in told.items():
            headers |= _bucket_headers(name, bucket, now, wall_seconds)
        return headers


def _bucket(per_minute: float | None, minute_share: float, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    capacity = max(1.0, per_minute * minute_share)
    return Bucket(per_minute, capacity, capacity, now)


def _bucket_headers(name: str, bucket: Bucket | None, now: float, wall_seconds: float) -> dict[str, str]:
    if bucket is None:
        return {key: text for key, text in _unlimited_headers(int(wall_seconds)).items() if f"{_PREFIX}{name}-" in key}
    bucket.refill(now)
    return {
        f"{_PREFIX}{name}-limit": str(int(bucket.per_minute)),
        f"{_PREFIX}{name}-remaining": str(max(0, int(bucket.level))),
        f"{_PREFIX}{name}-reset": _rfc3339(wall_seconds + bucket.wait_seconds(bucket.capacity)),
    }


@lru_cache(maxsize=4)
def _unlimited_headers(wall_seconds: int) -> dict[str, str]:
    reset = _rfc3339(wall_seconds)
    headers: dict[str, str] = {}
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        headers[f"{_PREFIX}{name}-limit"] = str(_UNLIMITED)
        headers[f"{_PREFIX}{name}-remaining"] = str(_UNLIMITED)
        headers[f"{_PREFIX}{name}-reset"] = reset
    return headers


def _rfc3339(wall_seconds: float) -> str:
    return datetime.fromtimestamp(wall_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
