"""`PostgresLookup`: requests as the sinks wrote them. Lookups of one moment share a round trip."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Final, LiteralString
from uuid import UUID

import orjson

from producers.gateway.lookup import Calls, Known, LookupUnavailableError, StoredRequest, Wanted
from streams.group_commit import GroupCommit
from streams.ledger.port import LedgerUnavailable
from streams.ledger.postgres_connection import HealingConnection

_LISTS_AT_ONCE: Final = 3
_NAME: Final = "headrace-gateway"

# In the order of StoredRequest's fields.
_COLUMNS: Final[LiteralString] = """
r.request_id, r.tenant, r.department, r.user_id, r.application, r.labels, r.template, r.lane, r.status, r.accepted_at,
r.started_at, r.completed_at, r.queue_ms, r.model_ms, r.source, r.model, r.input_tokens, r.output_tokens,
r.cache_read_tokens, r.cache_write_tokens, r.cost_usd, r.saved_usd, r.attempts, r.paid_by, r.error_code,
r.error_message, r.answer, r.stop_reason
"""
_FIELDS: Final = len(StoredRequest.__slots__)
_FIND: Final[LiteralString] = f"""
SELECT {_COLUMNS}, f.calls, f.last, f.last_sent_at
FROM requests_find(%(ids)s::uuid[], %(tenants)s::text[]) f CROSS JOIN LATERAL (SELECT (f.stored).*) r ORDER BY f.n
"""  # noqa: S608 - built from our own names
# OFFSET 0 keeps each a lookup by index of its own, whatever the planner thinks of a table it has not counted yet.
_PAGE: Final[LiteralString] = f"""
SELECT {_COLUMNS}, c.calls, c.last, c.last_sent_at
FROM requests r LEFT JOIN LATERAL (
    SELECT count(*) AS calls, (array_agg(k.state ORDER BY k.sent_at DESC))[1] AS last, max(k.sent_at) AS last_sent_at
    FROM ledger_calls k WHERE k.request_id = r.request_id AND k.tenant = r.tenant AND r.status = 'pending' OFFSET 0
) c ON true WHERE r.tenant = %(tenant)s
"""  # noqa: S608 - the same
_ORDER: Final[LiteralString] = " ORDER BY r.accepted_at DESC, r.request_id DESC LIMIT %(limit)s"

_CONDITIONS: Final[Mapping[str, LiteralString]] = {
    "user_id": " AND r.user_id = %(user_id)s",
    "department": " AND r.department = %(department)s",
    "device": " AND r.labels ->> 'device_name' = %(device)s",
    "since": " AND r.accepted_at >= %(since)s",
    "labels": " AND r.labels @> %(labels)s::jsonb",
    "after": " AND (r.accepted_at, r.request_id) < (%(after_time)s, %(after_id)s)",
}
_STATUSES: Final[Mapping[str, LiteralString]] = {
    "pending": " AND r.status = 'pending' AND c.last IS NULL",
    "processing": " AND r.status = 'pending' AND c.last IN ('sent', 'answered', 'late')",
    "retrying": " AND r.status = 'pending' AND c.last IN ('not_paid', 'ambiguous')",
}
_ENDED: Final[LiteralString] = " AND r.status = %(status)s"


class PostgresLookup:
    """A RequestLookup; `dsn` may be a replica's. Belongs to one event loop."""

    def __init__(self, dsn: str) -> None:
        self._finding = HealingConnection(dsn, _NAME)
        self._listing = [HealingConnection(dsn, _NAME) for _ in range(_LISTS_AT_ONCE)]
        self._turns = cycle(self._listing)
        self._finds = GroupCommit(self._find, spacing_seconds=0.0, most_items=64)

    async def find(self, tenant: str, request_id: UUID) -> Known:
        """See RequestLookup."""
        return (await self._finds.submit([(tenant, request_id)]))[0]

    async def page(self, wanted: Wanted) -> Sequence[Known]:
        """See RequestLookup."""
        statement, parameters = _page_of(wanted)
        return [_known(row) for row in await _asked(next(self._turns), statement, parameters)]

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._finds.drained()
        await asyncio.gather(*(each.aclose() for each in (self._finding, *self._listing)))

    async def _find(self, asked: Sequence[tuple[str, UUID]]) -> Sequence[Known]:
        parameters = {"ids": [each[1] for each in asked], "tenants": [each[0] for each in asked]}
        return [_known(row) for row in await _asked(self._finding, _FIND, parameters)]


async def _asked(
    connection: HealingConnection, statement: LiteralString, parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    try:
        return await connection.ask(statement, parameters)
    except LedgerUnavailable as error:
        raise LookupUnavailableError(str(error)) from None


def _page_of(wanted: Wanted) -> tuple[LiteralString, dict[str, Any]]:
    statement, parameters = _PAGE, {"tenant": wanted.tenant, "limit": wanted.limit, "status": wanted.status}
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value is not None:
            statement += condition
            parameters[name] = value
    if wanted.labels is not None:
        parameters["labels"] = orjson.dumps(dict(wanted.labels)).decode()
    if wanted.after is not None:
        parameters |= {"after_time": wanted.after.accepted_at, "after_id": wanted.after.request_id}
        del parameters["after"]
    if wanted.status is not None:
        statement += _STATUSES.get(wanted.status, _ENDED)
    return statement + _ORDER, parameters


def _known(row: tuple[Any, ...]) -> Known:
    stored = StoredRequest(*row[:_FIELDS]) if row[0] is not None else None
    return Known(stored, Calls(*row[_FIELDS:]))
