"""The port of one cache tier, and the key under which an answer lies."""

from collections.abc import Mapping, Sequence
from typing import NewType, Protocol

from schemas.identity import Fingerprint
from streams.cache.stored_answer import CacheEntry

CacheKey = NewType("CacheKey", str)

KEY_PREFIX = "headrace:answer:2"


def cache_key_of(tenant: str, fingerprint: Fingerprint) -> CacheKey:
    """Tenant first, so that no key of one tenant can name an answer of another."""
    return CacheKey(f"{KEY_PREFIX}:{tenant}:{fingerprint}")


class CacheUnavailable(Exception):  # noqa: N818 - says what it is; the pipeline goes on without this tier
    """The tier cannot be reached; treat every key as absent."""


class AnswerCache(Protocol):
    """One tier. Both calls take many keys, since a round trip a key would cost more than the rest of the work."""

    async def get_many(self, keys: Sequence[CacheKey]) -> list[CacheEntry | None]:
        """The entries that are fresh, in the order of `keys`. Raises CacheUnavailable."""
        ...

    async def put_many(self, entries: Mapping[CacheKey, CacheEntry]) -> None:
        """Keep each until it expires; its lifetime is absolute. Raises CacheUnavailable."""
        ...
