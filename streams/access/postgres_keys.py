"""Keys in Postgres, table `api_keys`: one statement each, so that a pooler in transaction mode will do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from producers.gateway.callers import KeyId, KeyQuotas, KeysUnavailableError
from streams.access.keys import StoredKey

PATIENCE_SECONDS: Final = 2.0
"""A store of keys that is silent for so long is away."""
_CONNECTIONS: Final = 2

_COLUMNS: Final[LiteralString] = (
    "key_id, digest, tenant, scopes, created_at, name, allowed_models, quotas, expires_at, revoked_at, replaced_by"
)
_FIND: Final[LiteralString] = f"SELECT {_COLUMNS} FROM api_keys WHERE key_id = %(key_id)s"  # noqa: S608 - our columns
_LIST: Final[LiteralString] = f"""
SELECT {_COLUMNS} FROM api_keys WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s
ORDER BY created_at DESC, key_id DESC
"""  # noqa: S608 - our columns
_VALUES: Final[LiteralString] = """
%(key_id)s::text, %(digest)s::bytea, %(tenant)s::text, %(scopes)s::text[], %(created_at)s::timestamptz, %(name)s::text,
%(allowed_models)s::text[], %(quotas)s::jsonb, %(expires_at)s::timestamptz, NULL::timestamptz, NULL::text
"""
_ADD: Final[LiteralString] = f"""
INSERT INTO api_keys ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (key_id) DO NOTHING RETURNING key_id
"""  # noqa: S608 - our columns
_REPLACE: Final[LiteralString] = f"""
WITH ended AS (
    UPDATE api_keys SET expires_at = least(expires_at, %(old_expires_at)s), replaced_by = %(key_id)s
    WHERE key_id = %(old)s AND revoked_at IS NULL AND replaced_by IS NULL
      AND (expires_at IS NULL OR expires_at > %(created_at)s)
    RETURNING key_id
)
INSERT INTO api_keys ({_COLUMNS}) SELECT {_VALUES} FROM ended RETURNING key_id
"""  # noqa: S608 - our columns
_REVOKE: Final[LiteralString] = f"""
UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s) WHERE key_id = %(key_id)s RETURNING {_COLUMNS}
"""  # noqa: S608 - our columns


class PostgresKeys:
    """See `KeyStore` and `KeyBook`. Opens its connections when first asked; close it with `aclose`."""

    def __init__(self, dsn: str) -> None:
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=PATIENCE_SECONDS,
            reconnect_timeout=PATIENCE_SECONDS,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": None, "application_name": "headrace-keys"},
        )
        self._opening = asyncio.Lock()

    async def find(self, key_id: KeyId) -> StoredKey | None:
        rows = await self._ask(_FIND, {"key_id": key_id})
        return _stored(rows[0]) if rows else None

    async def listed(self, tenant: str | None = None) -> Sequence[StoredKey]:
        return [_stored(row) for row in await self._ask(_LIST, {"tenant": tenant})]

    async def add(self, key: StoredKey) -> bool:
        return bool(await self._ask(_ADD, _values(key)))

    async def replace(self, old: KeyId, new: StoredKey, old_expires_at: datetime) -> bool:
        return bool(await self._ask(_REPLACE, {**_values(new), "old": old, "old_expires_at": old_expires_at}))

    async def revoke(self, key_id: KeyId, now: datetime) -> StoredKey | None:
        rows = await self._ask(_REVOKE, {"key_id": key_id, "now": now})
        return _stored(rows[0]) if rows else None

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._pool.close(timeout=PATIENCE_SECONDS)

    async def _ask(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        asking = asyncio.ensure_future(self._execute(statement, parameters))
        done, _ = await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
        if not done:
            # A server that is stopped answers no cancellation either: nobody waits for that.
            asking.add_done_callback(_forget)
            asking.cancel()
            raise KeysUnavailableError("Postgres is silent; see: headrace status")
        return asking.result()

    async def _execute(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            async with self._opening:
                await self._pool.open()
            async with self._pool.connection() as connection:
                return await (await connection.execute(statement, parameters)).fetchall()
        except psycopg.errors.UndefinedTable:
            raise KeysUnavailableError("Postgres has no api_keys yet; run: headrace migrate") from None
        except (psycopg.DataError, psycopg.IntegrityError):
            raise
        except (psycopg.Error, OSError) as error:
            # No message of the driver: it may hold the address with its password.
            raise KeysUnavailableError(f"Postgres cannot be asked ({type(error).__name__})") from None


def _forget(asking: "asyncio.Future[Any]") -> None:
    """It was given up; that it ended is no news."""
    if not asking.cancelled():
        asking.exception()


def _values(key: StoredKey) -> dict[str, Any]:
    models = None if key.allowed_models is None else sorted(key.allowed_models)
    quotas = {name: value for name, value in asdict(key.quotas).items() if value is not None}
    return {
        "key_id": key.key_id,
        "digest": key.digest,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "name": key.name,
        "allowed_models": models,
        "quotas": Jsonb(quotas),
        "expires_at": key.expires_at,
    }


def _stored(row: tuple[Any, ...]) -> StoredKey:
    key_id, digest, tenant, scopes, created_at, name, models, quotas, expires_at, revoked_at, replaced_by = row
    return StoredKey(
        key_id=KeyId(key_id),
        digest=bytes(digest),
        tenant=tenant,
        scopes=frozenset(scopes),
        created_at=created_at,
        name=name,
        allowed_models=None if models is None else frozenset(models),
        quotas=KeyQuotas(**quotas),
        expires_at=expires_at,
        revoked_at=revoked_at,
        replaced_by=replaced_by,
    )
