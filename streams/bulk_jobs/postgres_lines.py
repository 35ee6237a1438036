"""`PostgresLines`: a job's lines as the sink has written them, found by the range of their ids alone."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg_pool import AsyncConnectionPool

from producers.gateway.bulk_book import RECENT_SECONDS, Tally
from producers.gateway.ids import lines_of, number_of
from streams.bulk_jobs.postgres_jobs import ask

_TALLY: Final = """
SELECT status, source, error_code, count(*), sum(cost_usd), sum(saved_usd),
       count(*) FILTER (WHERE completed_at > clock_timestamp() - make_interval(secs => %(recent)s)), max(completed_at)
FROM requests WHERE request_id BETWEEN %(first)s AND %(last)s AND tenant = %(tenant)s GROUP BY 1, 2, 3
"""
_NAMES: Final = (
    *("request_id", "department", "user_id", "application", "labels", "template", "status", "source", "model"),
    *("accepted_at", "started_at", "completed_at", "queue_ms", "model_ms", "attempts"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cost_usd", "saved_usd", "paid_by", "error_code", "error_message", "answer", "stop_reason"),
)
_RESULTS: Final = f"""
SELECT {", ".join(_NAMES)} FROM requests
WHERE request_id > %(after)s AND request_id <= %(last)s AND tenant = %(tenant)s AND status <> 'pending'
ORDER BY request_id LIMIT %(limit)s
"""  # noqa: S608 - built from our own names


class PostgresLines:
    """JobLines on a pool of connections."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def tally(self, tenant: str, job: UUID) -> Sequence[Tally]:
        """See JobLines."""
        lines = lines_of(job)
        given = {"first": lines.first, "last": lines.last, "tenant": tenant, "recent": RECENT_SECONDS}
        return [Tally(*row) for row in await ask(self._pool, _TALLY, given)]

    async def results(self, tenant: str, job: UUID, after: UUID | None, limit: int) -> Sequence[tuple[UUID, bytes]]:
        """See JobLines."""
        lines = lines_of(job)
        begin = after or UUID(int=lines.first.int - 1)
        given = {"after": begin, "last": lines.last, "tenant": tenant, "limit": limit}
        return [(row[0], _json(row)) for row in await ask(self._pool, _RESULTS, given)]


def _json(row: tuple[Any, ...]) -> bytes:
    document = dict(zip(_NAMES, row, strict=True))
    return orjson.dumps({"item": number_of(row[0]), **document}, default=_plain)


def _plain(value: Any) -> str:
    """Money in plain digits, as results have it."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)
