"""What a key is made of, what is kept of it, and what it is good for at a given moment. No store, no clock."""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import SecretStr

from producers.gateway.callers import NONE_OF_ITS_OWN, Caller, KeyId, KeyQuotas, Scope

PREFIX: Final = "hr"
_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_ID_LENGTH: Final = 12
_SECRET_LETTERS: Final = string.ascii_letters + string.digits
_SECRET_LENGTH: Final = 32
"""Of 62 letters: 190 bits."""
_FORM: Final = re.compile(r"hr_([a-z0-9]{12})_([A-Za-z0-9]{32})")
_LEAST_PEPPER_BYTES: Final = 16

KeyState = Literal["active", "replaced", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a store keeps of a key: all but the key itself."""

    key_id: KeyId
    digest: bytes
    tenant: str
    scopes: frozenset[Scope]
    created_at: datetime
    name: str = ""
    allowed_models: frozenset[str] | None = None
    quotas: KeyQuotas = NONE_OF_ITS_OWN
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: KeyId | None = None

    def state(self, now: datetime) -> KeyState:
        """`replaced` keys are still good until they expire."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.replaced_by is None else "replaced"

    def caller(self, now: datetime) -> Caller | None:
        """Whom it lets in; nobody once it is revoked or expired."""
        if self.state(now) in {"revoked", "expired"}:
            return None
        return Caller(self.key_id, self.tenant, self.scopes, self.allowed_models, self.quotas, self.expires_at)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A whole key, as its owner has it; its public part finds it, its secret part proves it."""

    key_id: KeyId
    secret: SecretStr

    @property
    def text(self) -> SecretStr:
        """`hr_<public id>_<secret>`."""
        return SecretStr(f"{PREFIX}_{self.key_id}_{self.secret.get_secret_value()}")


class Pepper:
    """The secret that is needed beside the store's digests; kept outside the store."""

    def __init__(self, pepper: SecretStr) -> None:
        value = pepper.get_secret_value().encode()
        if len(value) < _LEAST_PEPPER_BYTES:
            raise ValueError("The pepper of API keys has at least 16 bytes: set HEADRACE_KEY_PEPPER")
        self._value = value

    def digest(self, key: ApiKey) -> bytes:
        """HMAC-SHA256 of the key; its public id is part of it, so that no row can stand in for another."""
        stated = f"{PREFIX}_{key.key_id}\0{key.secret.get_secret_value()}".encode()
        return hmac.digest(self._value, stated, hashlib.sha256)

    def proves(self, key: ApiKey, stored: StoredKey) -> bool:
        """Whether it is the key that was stored; takes as long whatever the answer."""
        return hmac.compare_digest(self.digest(key), stored.digest)


def new_key() -> ApiKey:
    """A key that nobody can guess."""
    key_id = KeyId("".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH)))
    return ApiKey(key_id, SecretStr("".join(secrets.choice(_SECRET_LETTERS) for _ in range(_SECRET_LENGTH))))


def read_key(text: str) -> ApiKey | None:
    """The parts of a key; None for what cannot be one, so that no store is asked for it."""
    found = _FORM.fullmatch(text)
    return None if found is None else ApiKey(KeyId(found[1]), SecretStr(found[2]))
