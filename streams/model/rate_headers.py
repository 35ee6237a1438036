"""The headers in which the API tells its rate limits, out of all it sends."""

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "anthropic-ratelimit-"


def rate_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case."""
    lowered = ((name.lower(), text) for name, text in headers.items())
    return {name: text for name, text in lowered if name.startswith(PREFIX)}
