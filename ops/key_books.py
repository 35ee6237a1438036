"""Handing out API keys and taking them back: what `headrace keys` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import SecretStr

from producers.gateway.callers import NONE_OF_ITS_OWN, SCOPES, KeyId, KeyQuotas, KeysUnavailableError, Scope
from streams.access.keys import ApiKey, Pepper, StoredKey, new_key, read_key
from streams.access.postgres_keys import PostgresKeys
from streams.settings import Settings

LOCAL_TENANT: Final = "local"


class PepperMissingError(RuntimeError):
    """Without the pepper no digest can be made."""

    def __init__(self) -> None:
        super().__init__("HEADRACE_KEY_PEPPER is not set; it is the same for all gateways and for this command")


class KeyNotActiveError(RuntimeError):
    """There is no such key, or it is replaced, expired or revoked."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as its owner gets it: `text` is nowhere else."""

    stored: StoredKey
    text: SecretStr


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key is to be good for; None lasts for ever."""

    tenant: str
    scopes: frozenset[Scope] = SCOPES
    name: str = ""
    lifetime: timedelta | None = None
    allowed_models: frozenset[str] | None = None
    quotas: KeyQuotas = NONE_OF_ITS_OWN


class KeyDesk:
    """One command's work on the keys. Every method raises KeysUnavailableError."""

    def __init__(self, keys: PostgresKeys, pepper: SecretStr | None) -> None:
        self._keys = keys
        self._given_pepper = pepper

    async def create(self, wish: KeyWish) -> NewKey:
        """Raises PepperMissingError."""
        key, now = new_key(), _now()
        stored = self._stored(key, wish, now)
        if not await self._keys.add(stored):
            raise KeysUnavailableError("the new key's id was taken; run the command again")
        return NewKey(stored, key.text)

    async def listed(self, tenant: str | None) -> Sequence[StoredKey]:
        return await self._keys.listed(tenant)

    async def rotate(self, key_id: KeyId, overlap: timedelta) -> NewKey:
        """A key good for the same; the old one ends after `overlap`. Raises KeyNotActiveError, PepperMissingError."""
        old, now = await self._keys.find(key_id), _now()
        if old is None or old.state(now) != "active":
            raise KeyNotActiveError(f"There is no active key {key_id}.")
        key = new_key()
        # The new one lasts as long as the old one was meant to.
        lasts = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        new = replace(old, key_id=key.key_id, digest=self._pepper.digest(key), created_at=now, expires_at=lasts)
        if not await self._keys.replace(key_id, new, now + overlap):
            raise KeyNotActiveError(f"The key {key_id} was replaced or ended meanwhile.")
        return NewKey(new, key.text)

    async def revoke(self, key_id: KeyId) -> StoredKey | None:
        """The key as it is now; None where there is none."""
        return await self._keys.revoke(key_id, _now())

    async def keep(self, text: str, wish: KeyWish) -> bool:
        """Make sure that this key of our own making is known; False where it is no longer good."""
        key, now = read_key(text), _now()
        if key is None:
            return False
        stored = self._stored(key, wish, now)
        if await self._keys.add(stored):
            return True
        known = await self._keys.find(key.key_id)
        return known is not None and known.digest == stored.digest and known.state(now) == "active"

    def _stored(self, key: ApiKey, wish: KeyWish, now: datetime) -> StoredKey:
        return StoredKey(
            key_id=key.key_id,
            digest=self._pepper.digest(key),
            tenant=wish.tenant,
            scopes=wish.scopes,
            created_at=now,
            name=wish.name,
            allowed_models=wish.allowed_models,
            quotas=wish.quotas,
            expires_at=None if wish.lifetime is None else now + wish.lifetime,
        )

    @property
    def _pepper(self) -> Pepper:
        if self._given_pepper is None:
            raise PepperMissingError
        return Pepper(self._given_pepper)


@asynccontextmanager
async def key_desk(settings: Settings) -> AsyncIterator[KeyDesk]:
    """Opened and closed again."""
    keys = PostgresKeys(settings.postgres.get_secret_value())
    try:
        yield KeyDesk(keys, settings.key_pepper)
    finally:
        await keys.aclose()


def _now() -> datetime:
    return datetime.now(UTC)
