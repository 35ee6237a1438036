"""The local stack's own API key: there before anybody asks, kept with the stack's passwords."""

from pathlib import Path
from typing import Final

from ops.key_books import LOCAL_TENANT, KeyWish, key_desk
from ops.local.passwords import passwords_in, with_new_gateway_key
from producers.gateway.callers import KeyQuotas
from streams.settings import Settings

# A machine's own callers are held by what the gateway can do, not by a quota.
_OWN_QUOTAS: Final = KeyQuotas(
    requests_per_second=100_000,
    burst=100_000,
    requests_per_day=10**12,
    bulk_jobs=1000,
    bytes_per_day=10**15,
)
_OWN_KEY: Final = KeyWish(LOCAL_TENANT, name="local stack", quotas=_OWN_QUOTAS)


async def local_key(settings: Settings, home: Path) -> str:
    """The key, of tenant `local` with every scope; known to the gateways when this returns. Safe to repeat.

    One that was revoked is followed by another. Raises KeysUnavailableError.
    """
    async with key_desk(settings) as desk:
        passwords = passwords_in(home)
        if not await desk.keep(passwords.gateway_key, _OWN_KEY):
            passwords = with_new_gateway_key(home)
            await desk.keep(passwords.gateway_key, _OWN_KEY)
    return passwords.gateway_key


def gateway_environment(home: Path) -> dict[str, str]:
    """What a local gateway needs beside its addresses: the pepper, and quotas that do not bound a bench of its own."""
    wide = '{"requests_per_second": 100000, "burst": 100000, "requests_per_day": 1000000000000, "bulk_jobs": 1000}'
    wider = {f"HEADRACE_QUOTA_{subject}": wide for subject in ("TENANT", "USER", "ADDRESS")}
    return {"HEADRACE_KEY_PEPPER": passwords_in(home).key_pepper, **wider}
