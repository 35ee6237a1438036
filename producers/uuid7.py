"""UUID version 7 (RFC 9562, section 5.7): ids that sort by time, so that a store can find the month by the id."""

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

_RANDOM_BITS: Final = 74


def uuid7(unix_ms: int | None = None, random_bits: int | None = None) -> UUID:
    """A new id of now, or of the given milliseconds and 74 bits."""
    stamp = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    noise = secrets.randbits(_RANDOM_BITS) if random_bits is None else random_bits & ((1 << _RANDOM_BITS) - 1)
    high, low = noise >> 62, noise & ((1 << 62) - 1)
    return UUID(int=(stamp & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def uuid7_within(run: UUID, *parts: bytes) -> UUID:
    """The id that these parts always get within `run`: its time, and bits derived from it and them."""
    digest = hashlib.sha256(b"\0".join((run.bytes, *parts))).digest()
    return uuid7(unix_ms_of(run), int.from_bytes(digest[:10], "big"))


def unix_ms_of(identity: UUID) -> int:
    """Milliseconds since 1970 at which a version 7 id was made."""
    return identity.int >> 80


def time_of(identity: UUID) -> datetime:
    """When a version 7 id was made."""
    return datetime.fromtimestamp(unix_ms_of(identity) / 1000, UTC)
