"""`MemoryIdempotency`: the IdempotencyStore contract for one process, for tests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from producers.gateway.idempotency import LEASE_SECONDS, LIFETIME_SECONDS, Begun, KeyUse


@dataclass(frozen=True, slots=True)
class _Held:
    body_hash: bytes
    request_id: UUID
    leased_until: float
    expires_at: float
    published: bool = False


class MemoryIdempotency:
    """Keeps keys in a dictionary; `now` is in seconds."""

    def __init__(
        self,
        now: Callable[[], float],
        lease_seconds: float = LEASE_SECONDS,
        lifetime_seconds: float = LIFETIME_SECONDS,
    ) -> None:
        self._now = now
        self._lease_seconds = lease_seconds
        self._lifetime_seconds = lifetime_seconds
        self._held: dict[tuple[str, bytes], _Held] = {}

    async def begin(self, use: KeyUse) -> Begun:
        """See IdempotencyStore."""
        now, place = self._now(), (use.tenant, use.key_hash)
        held = self._held.get(place)
        if held is None or held.expires_at <= now:
            held = _Held(use.body_hash, use.request_id, now + self._lease_seconds, now + self._lifetime_seconds)
        elif held.body_hash != use.body_hash:
            return Begun("other_body", held.request_id)
        elif held.published:
            return Begun("repeated", held.request_id)
        elif held.leased_until > now and held.request_id != use.request_id:
            return Begun("busy", held.request_id)
        self._held[place] = replace(held, leased_until=now + self._lease_seconds)
        return Begun("begun", held.request_id)

    async def confirm(self, use: KeyUse) -> None:
        """See IdempotencyStore."""
        if (held := self._of(use)) is not None:
            self._held[use.tenant, use.key_hash] = replace(held, published=True)

    async def release(self, use: KeyUse, *, published: bool) -> None:
        """See IdempotencyStore."""
        held = self._of(use)
        if published and held is not None:
            self._held[use.tenant, use.key_hash] = replace(held, leased_until=self._now())
        elif held is not None and not held.published:
            del self._held[use.tenant, use.key_hash]

    def _of(self, use: KeyUse) -> _Held | None:
        held = self._held.get((use.tenant, use.key_hash))
        return held if held is not None and held.request_id == use.request_id else None
