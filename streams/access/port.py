"""Where keys are kept: one port for those who check them, one for those who hand them out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from producers.gateway.callers import KeyId
from streams.access.keys import StoredKey


class KeyStore(Protocol):
    """Finds keys."""

    async def find(self, key_id: KeyId) -> StoredKey | None:
        """The key of this public id, whatever its state. Raises KeysUnavailableError."""
        ...

    async def listed(self, tenant: str | None = None) -> Sequence[StoredKey]:
        """All keys, or one tenant's; newest first. Raises KeysUnavailableError."""
        ...


class KeyBook(Protocol):
    """Changes keys. Every method raises KeysUnavailableError."""

    async def add(self, key: StoredKey) -> bool:
        """Take a new key in; False where there is one of that id already."""
        ...

    async def replace(self, old: KeyId, new: StoredKey, old_expires_at: datetime) -> bool:
        """Take `new` in and end `old` no later than given, both or neither; False where `old` is not good any more."""
        ...

    async def revoke(self, key_id: KeyId, now: datetime) -> StoredKey | None:
        """End it at once; it as it is now, None where there is none. Safe to repeat: the first moment stays."""
        ...
