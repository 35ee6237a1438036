"""W3C trace context: the `traceparent` header that follows a request to its result."""

import re
import secrets
from typing import Final

TRACEPARENT: Final = "traceparent"
_PATTERN: Final = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


def new_traceparent() -> str:
    """A new trace, marked as sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id, or None where the header is missing or malformed."""
    match = _PATTERN.match(traceparent or "")
    return match.group(1) if match else None
