"""Keys of tests: a ring with callers on it, and quotas that a test can exhaust."""

from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from producers.gateway.callers import SCOPES, KeyId
from streams.access.keys import ApiKey, Pepper, StoredKey, new_key
from streams.access.memory_keys import MemoryKeys
from streams.access.remembered_keys import RememberedKeys

PEPPER = Pepper(SecretStr("a pepper of enough bytes"))
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def a_stored_key(key: ApiKey, tenant: str = "meridian", **given: Any) -> StoredKey:
    fields: dict[str, Any] = {"scopes": SCOPES, "created_at": NOON, "name": "of a test"} | given
    return StoredKey(key_id=key.key_id, digest=PEPPER.digest(key), tenant=tenant, **fields)


class TestRing:
    """A key ring that hands out keys."""

    __test__ = False

    def __init__(self) -> None:
        self.store = MemoryKeys()
        self.ring = RememberedKeys(self.store, PEPPER, lambda: datetime.now(UTC))

    async def key_for(self, tenant: str, **given: Any) -> str:
        """The whole text of a new key."""
        key = new_key()
        assert await self.store.add(a_stored_key(key, tenant, **given))
        return key.text.get_secret_value()


def text_of(key: ApiKey) -> str:
    return key.text.get_secret_value()


def another_secret(key: ApiKey) -> ApiKey:
    """Of the same public id."""
    return ApiKey(KeyId(key.key_id), new_key().secret)
