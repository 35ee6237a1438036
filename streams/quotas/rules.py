"""Which quotas a call falls under, and what its answer says of them. No store, no clock."""

import hashlib
import ipaddress
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from producers.gateway.callers import Caller, KeyQuotas
from producers.gateway.quotas import QuotaAsk, QuotaVerdict

DAY_SECONDS: Final = 24 * 60 * 60
JOB_SECONDS: Final = DAY_SECONDS
"""A place for a bulk job that is never given back is free after so long."""
_IPV6_NETWORK_BITS: Final = 64
_BURST_SECONDS: Final = 2.0

Subject = Literal["key", "tenant", "user", "address"]


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """What bounds whom, where a key states none of its own. A key never widens the bounds of its tenant."""

    key: KeyQuotas
    tenant: KeyQuotas
    user: KeyQuotas
    address: KeyQuotas


DEFAULTS: Final = QuotaRules(
    key=KeyQuotas(1000, 2000, 5_000_000, 8, 50 * 1024**3),
    tenant=KeyQuotas(2000, 4000, 20_000_000, 32, 200 * 1024**3),
    user=KeyQuotas(200, 400, 1_000_000),
    address=KeyQuotas(1000, 2000),
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One count: a `rate` per second that may save up `burst` calls, or a `total` of `limit` in a UTC day."""

    name: str
    """What a refusal is told by; `key_rate` and so on."""
    owner: str
    """Whose it is; a digest, so that no store holds users' names."""
    kind: Literal["rate", "total"]
    limit: float
    burst: int
    cost: int

    def shared_by(self, gateways: int) -> "Bucket":
        """One gateway's part of it; a burst is at least one call."""
        limit = self.limit / gateways
        share = limit if self.kind == "rate" else math.floor(limit)
        return Bucket(self.name, self.owner, self.kind, share, max(1, self.burst // gateways), self.cost)


@dataclass(frozen=True, slots=True)
class Level:
    """One bucket after a call: how much is left, when it is full again, how long a refused call has to wait (0: none).

    `wait_seconds` is above 0 exactly where this bucket refused.
    """

    remaining: int
    reset_seconds: float
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JobPlaces:
    """Places for bulk jobs of one owner."""

    name: str
    owner: str
    limit: int


def merged(given: KeyQuotas, otherwise: KeyQuotas) -> KeyQuotas:
    """What is given, and the rest from `otherwise`; a rate goes with its own burst."""
    names = [field.name for field in fields(KeyQuotas)]
    chosen = {name: getattr(given if getattr(given, name) is not None else otherwise, name) for name in names}
    if given.requests_per_second is not None and given.burst is None:
        chosen["burst"] = max(1, round(given.requests_per_second * _BURST_SECONDS))
    return KeyQuotas(**chosen)


def buckets_of(ask: QuotaAsk, rules: QuotaRules) -> tuple[Bucket, ...]:
    """Every count that the call is part of; the key's own first."""
    return tuple(
        bucket for subject, who, quotas in _subjects(ask, rules) for bucket in _buckets(subject, who, quotas, ask)
    )


def job_places_of(caller: Caller, rules: QuotaRules) -> tuple[JobPlaces, ...]:
    """The places a bulk job takes."""
    key, tenant = merged(caller.quotas, rules.key), rules.tenant
    bounds = (("key", caller.key_id, key.bulk_jobs), ("tenant", caller.tenant, tenant.bulk_jobs))
    return tuple(
        JobPlaces(f"{name}_jobs", owner_of(name, who), limit) for name, who, limit in bounds if limit is not None
    )


def verdict_of(buckets: Sequence[Bucket], levels: Sequence[Level]) -> QuotaVerdict:
    """What is told to the caller: the key's own quotas, and whichever refused; the one that refuses longest first."""
    told = list(zip(buckets, levels, strict=True))
    refused = max(told, key=lambda each: each[1].wait_seconds, default=None)
    by = refused[0].name if refused is not None and refused[1].wait_seconds > 0 else ""
    shown = [(bucket, level) for bucket, level in told if bucket.name.startswith("key_") or bucket.name == by]
    headers = (("RateLimit-Policy", _policies(shown)), ("RateLimit", _limits(shown))) if shown else ()
    wait = refused[1].wait_seconds if refused is not None and by else 0.0
    return QuotaVerdict(not by, wait, by, headers)


def owner_of(subject: str, who: str) -> str:
    """A short digest that names one owner."""
    return hashlib.blake2b(f"{subject}\0{who}".encode(), digest_size=12).hexdigest()


def _subjects(ask: QuotaAsk, rules: QuotaRules) -> Iterator[tuple[Subject, str, KeyQuotas]]:
    caller = ask.caller
    yield "key", caller.key_id, merged(caller.quotas, rules.key)
    yield "tenant", caller.tenant, rules.tenant
    if ask.user:
        yield "user", f"{caller.tenant}\0{ask.user}", rules.user
    yield "address", network_of(ask.address), rules.address


def network_of(address: str) -> str:
    """Who is behind an address: of IPv6 the /64, which one customer has whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))
    return str(parsed)


def _buckets(subject: Subject, who: str, quotas: KeyQuotas, ask: QuotaAsk) -> Iterator[Bucket]:
    owner = owner_of(subject, who)
    if quotas.requests_per_second is not None:
        burst = quotas.burst or max(1, round(quotas.requests_per_second * _BURST_SECONDS))
        yield Bucket(f"{subject}_rate", owner, "rate", quotas.requests_per_second, burst, 1)
    if quotas.requests_per_day is not None:
        yield Bucket(f"{subject}_day", owner, "total", quotas.requests_per_day, 0, ask.requests)
    if quotas.bytes_per_day is not None:
        yield Bucket(f"{subject}_bytes", owner, "total", quotas.bytes_per_day, 0, ask.bytes)


def _policies(shown: Iterable[tuple[Bucket, Level]]) -> str:
    return ", ".join(f'"{bucket.name}";q={_quota(bucket)};w={_window(bucket)}{_unit(bucket)}' for bucket, _ in shown)


def _limits(shown: Iterable[tuple[Bucket, Level]]) -> str:
    return ", ".join(
        f'"{bucket.name}";r={level.remaining};t={math.ceil(level.reset_seconds)}' for bucket, level in shown
    )


def _quota(bucket: Bucket) -> int:
    return bucket.burst if bucket.kind == "rate" else int(bucket.limit)


def _window(bucket: Bucket) -> int:
    """Seconds: of a rate, how long its burst takes to come back."""
    return max(1, math.ceil(bucket.burst / bucket.limit)) if bucket.kind == "rate" else DAY_SECONDS


def _unit(bucket: Bucket) -> str:
    return ';qu="content-bytes"' if bucket.name.endswith("_bytes") else ""
