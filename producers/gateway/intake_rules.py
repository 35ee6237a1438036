"""How large, how slow and of which kind anything that comes in may be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * 1024

JSON: Final = frozenset({"application/json"})
UPLOADS: Final = frozenset(
    {
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "text/csv",
    }
)


@dataclass(frozen=True, slots=True)
class BodyRule:
    """Of one path's bodies; `max_bytes` as sent and as unpacked."""

    max_bytes: int = 2 * MEBIBYTE
    types: frozenset[str] = JSON
    streamed: bool = False
    """Handed on as it comes; its route checks each item with `strict_json`. Otherwise it is read and checked first."""


BODY_RULES: Final[Mapping[str, BodyRule]] = {
    "/v1/bulk": BodyRule(2048 * MEBIBYTE, UPLOADS, streamed=True),
    "/api/bulk-generate": BodyRule(16 * MEBIBYTE),
}


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """Bounds of every call."""

    bodies: Mapping[str, BodyRule] = field(default_factory=lambda: BODY_RULES)
    other_bodies: BodyRule = field(default_factory=BodyRule)
    max_headers: int = 64
    max_headers_bytes: int = 16 * KIBIBYTE
    max_url_bytes: int = 8 * KIBIBYTE
    body_grace_seconds: float = 10.0
    """How long nobody counts how fast a body comes; only waiting for the caller counts."""
    body_bytes_per_second: float = 16 * KIBIBYTE
    """The slowest a body may come after that."""
    hosts: frozenset[str] = frozenset()
    """Names that `Host` may give; none: any that is well formed."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose `X-Forwarded-For` is believed."""
    refused_keys_per_second: float = 10.0
    """Answers 401 that one address gets on end, after `refused_keys_burst` of them."""
    refused_keys_burst: int = 100

    def body_rule(self, path: str) -> BodyRule:
        return self.bodies.get(path.rstrip("/"), self.other_bodies)


SERVER_BOUNDS: Final[Mapping[str, int]] = {"header_read_timeout": 10_000, "max_buffer_size": 64 * KIBIBYTE}
"""What the HTTP/1 server holds itself, in milliseconds and bytes: heads are read before any of this is asked."""

Ticks = Callable[[], float]
"""Seconds of a monotonic clock."""
