"""Keys in memory: for tests. The adapter for Postgres keeps the same promises."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from producers.gateway.callers import KeyId, KeysUnavailableError
from streams.access.keys import StoredKey


class MemoryKeys:
    """See `KeyStore` and `KeyBook`. `away` makes it as unreachable as a server can be; `asked` counts lookups."""

    def __init__(self) -> None:
        self._keys: dict[KeyId, StoredKey] = {}
        self.away = False
        self.asked = 0

    async def find(self, key_id: KeyId) -> StoredKey | None:
        self.asked += 1
        return self._there().get(key_id)

    async def listed(self, tenant: str | None = None) -> Sequence[StoredKey]:
        found = [key for key in self._there().values() if tenant in {None, key.tenant}]
        return sorted(found, key=lambda key: (key.created_at, key.key_id), reverse=True)

    async def add(self, key: StoredKey) -> bool:
        return self._there().setdefault(key.key_id, key) is key

    async def replace(self, old: KeyId, new: StoredKey, old_expires_at: datetime) -> bool:
        known = self._there().get(old)
        if known is None or new.key_id in self._keys or known.state(new.created_at) != "active":
            return False
        ends = min(old_expires_at, known.expires_at or old_expires_at)
        self._keys[old] = replace(known, expires_at=ends, replaced_by=new.key_id)
        self._keys[new.key_id] = new
        return True

    async def revoke(self, key_id: KeyId, now: datetime) -> StoredKey | None:
        known = self._there().get(key_id)
        if known is None:
            return None
        self._keys[key_id] = replace(known, revoked_at=known.revoked_at or now)
        return self._keys[key_id]

    def _there(self) -> dict[KeyId, StoredKey]:
        if self.away:
            raise KeysUnavailableError("the keys are away")
        return self._keys
