"""`LocalKeys`: the one API key of a stack on one machine. A real ring of keys takes its place elsewhere."""

import hmac
from typing import Final

from producers.gateway.callers import SCOPES, Caller, KeyId

LOCAL_TENANT: Final = "local"


class LocalKeys:
    """Knows one secret, or none."""

    def __init__(self, secret: str | None, tenant: str = LOCAL_TENANT) -> None:
        self._secret = secret
        self._caller = Caller(KeyId(tenant), tenant, SCOPES)

    async def caller_of(self, secret: str) -> Caller | None:
        """See KeyRing."""
        if self._secret is None or not hmac.compare_digest(secret.encode(), self._secret.encode()):
            return None
        return self._caller
