"""`PostgresIdempotency`: Idempotency-Keys of the last day. What is asked within milliseconds shares a round trip."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, LiteralString

import orjson

from producers.gateway.idempotency import (
    LEASE_SECONDS,
    LIFETIME_SECONDS,
    Begun,
    IdempotencyUnavailableError,
    KeyUse,
)
from streams.group_commit import GroupCommit
from streams.ledger.port import LedgerUnavailable
from streams.ledger.postgres_connection import HealingConnection
from streams.logs import logger_named

log = logger_named("gateway")

Outcome = Literal["published", "open", "forgotten"]

_NAME: Final = "headrace-gateway"
_BEGIN: Final = """
SELECT verdict, request_id
FROM idempotency_begin(%(uses)s::json, make_interval(secs => %(lease)s), make_interval(secs => %(lifetime)s))
ORDER BY n
"""
_END: Final = "SELECT idempotency_end(%(uses)s::json)"
# A bounded bite: many copies of the gateway do this, and none should hold rows for long.
_PRUNE: Final = """
DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_keys WHERE expires_at < clock_timestamp() - interval '1 minute' LIMIT 10000
    FOR UPDATE SKIP LOCKED
))
"""
_PRUNE_EVERY_SECONDS: Final = 60.0


class PostgresIdempotency:
    """An IdempotencyStore. Belongs to one event loop; run `forget_expired` beside it."""

    def __init__(
        self, dsn: str, lease_seconds: float = LEASE_SECONDS, lifetime_seconds: float = LIFETIME_SECONDS
    ) -> None:
        self._bounds = {"lease": lease_seconds, "lifetime": lifetime_seconds}
        self._connections = {name: HealingConnection(dsn, _NAME) for name in ("begin", "end", "prune")}
        self._begins = GroupCommit(self._begin, spacing_seconds=0.002)
        self._ends = GroupCommit(self._end, spacing_seconds=0.002)

    async def begin(self, use: KeyUse) -> Begun:
        """See IdempotencyStore."""
        return (await self._begins.submit([use]))[0]

    async def confirm(self, use: KeyUse) -> None:
        """See IdempotencyStore."""
        await self._ends.submit([(use, "published")])

    async def release(self, use: KeyUse, *, published: bool) -> None:
        """See IdempotencyStore."""
        await self._ends.submit([(use, "open" if published else "forgotten")])

    async def prune(self) -> None:
        """Forget some of the keys whose day is over."""
        await self._ask("prune", _PRUNE, {})

    async def forget_expired(self) -> None:
        """Prune now and then; runs until cancelled, through any outage."""
        while True:
            await asyncio.sleep(_PRUNE_EVERY_SECONDS)
            try:
                await self.prune()
            except IdempotencyUnavailableError as error:
                log.warning("idempotency_keys_not_pruned", reason=str(error))

    async def aclose(self) -> None:
        """Let go of the connections."""
        await asyncio.gather(self._begins.drained(), self._ends.drained())
        await asyncio.gather(*(each.aclose() for each in self._connections.values()))

    async def _begin(self, uses: Sequence[KeyUse]) -> Sequence[Begun]:
        records = [
            {
                "n": n,
                "tenant": use.tenant,
                "key": use.key_hash.hex(),
                "body": use.body_hash.hex(),
                "request_id": use.request_id,
            }
            for n, use in enumerate(uses)
        ]
        rows = await self._ask("begin", _BEGIN, {"uses": orjson.dumps(records).decode(), **self._bounds})
        return [Begun(verdict, request_id) for verdict, request_id in rows]

    async def _end(self, uses: Sequence[tuple[KeyUse, Outcome]]) -> Sequence[None]:
        records = [
            {"tenant": use.tenant, "key": use.key_hash.hex(), "request_id": use.request_id, "outcome": outcome}
            for use, outcome in uses
        ]
        await self._ask("end", _END, {"uses": orjson.dumps(records).decode()})
        return [None] * len(uses)

    async def _ask(
        self, connection: str, statement: LiteralString, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        try:
            return await self._connections[connection].ask(statement, parameters)
        except LedgerUnavailable as error:
            raise IdempotencyUnavailableError(str(error)) from None
