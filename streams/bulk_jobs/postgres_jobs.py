"""`PostgresJobs`: the book of jobs in Postgres, one round trip a call."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from producers.gateway.bulk_book import (
    LEASE_SECONDS,
    Held,
    Job,
    JobBusyError,
    JobsUnavailableError,
    Progress,
    RejectedItem,
)

_COLUMNS: Final = """job, state, items, accepted, rejected, content,
    state = 'open' AND alive_until > clock_timestamp(), created_at, sealed_at, cancelled_at"""
_LEASE: Final = "clock_timestamp() + make_interval(secs => %(lease)s)"

# A key that is known is taken over only where no upload is alive; else nothing comes back.
_BEGIN: Final = f"""
INSERT INTO bulk_jobs AS known (job, tenant, client_key, alive_until)
VALUES (%(job)s, %(tenant)s, %(key)s, {_LEASE})
ON CONFLICT (tenant, client_key) WHERE client_key IS NOT NULL DO UPDATE
SET epoch = known.epoch + 1, alive_until = EXCLUDED.alive_until
WHERE known.state = 'open' AND known.alive_until <= clock_timestamp()
RETURNING {_COLUMNS}, epoch
"""  # noqa: S608 - built from our own names
_OF_KEY: Final = f"""
SELECT {_COLUMNS}, epoch, extract(epoch FROM alive_until - clock_timestamp())::float8
FROM bulk_jobs WHERE tenant = %(tenant)s AND client_key = %(key)s
"""  # noqa: S608
_ADVANCE: Final = f"""
WITH held AS (
    UPDATE bulk_jobs SET items = %(items)s, accepted = %(accepted)s, rejected = %(rejected)s, content = %(content)s,
        state = CASE WHEN %(sealed)s THEN 'sealed' ELSE state END,
        sealed_at = CASE WHEN %(sealed)s THEN clock_timestamp() END, alive_until = {_LEASE}
    WHERE job = %(job)s AND epoch = %(epoch)s AND state = 'open' RETURNING job
), refused AS (
    INSERT INTO bulk_rejections (job, item, line, reason)
    SELECT held.job, given.* FROM held, unnest(%(numbers)s::int[], %(lines)s::int[], %(reasons)s::text[]) AS given
    ON CONFLICT DO NOTHING
)
SELECT job FROM held
"""  # noqa: S608
_RENEW: Final = f"""
UPDATE bulk_jobs SET alive_until = {_LEASE} WHERE job = %(job)s AND epoch = %(epoch)s AND state = 'open' RETURNING job
"""  # noqa: S608
_RELEASE: Final = """
UPDATE bulk_jobs SET alive_until = clock_timestamp() WHERE job = %(job)s AND epoch = %(epoch)s AND state = 'open'
"""
_FIND: Final = f"SELECT {_COLUMNS} FROM bulk_jobs WHERE job = %(job)s AND tenant = %(tenant)s"  # noqa: S608
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM bulk_jobs WHERE tenant = %(tenant)s AND (%(before)s::uuid IS NULL OR job < %(before)s)
ORDER BY job DESC LIMIT %(limit)s
"""  # noqa: S608
_REJECTIONS: Final = """
SELECT r.item, r.line, r.reason FROM bulk_rejections r JOIN bulk_jobs j USING (job)
WHERE r.job = %(job)s AND j.tenant = %(tenant)s AND r.item > %(after)s ORDER BY r.item LIMIT %(limit)s
"""
_CANCEL: Final = f"""
UPDATE bulk_jobs SET state = 'cancelled', cancelled_at = coalesce(cancelled_at, clock_timestamp())
WHERE job = %(job)s AND tenant = %(tenant)s RETURNING {_COLUMNS}
"""  # noqa: S608


class PostgresJobs:
    """A JobBook, a JobShelf and JobEnds on a pool of connections that prepare nothing (PgBouncer)."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def begin(self, tenant: str, job: UUID, client_key: bytes | None) -> Held:
        """See JobBook."""
        given = {"job": job, "tenant": tenant, "key": client_key, "lease": LEASE_SECONDS}
        rows = await ask(self._pool, _BEGIN, given)
        if not rows:
            rows = await ask(self._pool, _OF_KEY, given)
            *row, epoch, seconds_left = rows[0]
            found = Job(*row)
            if found.state == "open":
                raise JobBusyError(found.job, max(seconds_left, 0.0))
            return Held(found, tenant, epoch, is_new=False)
        *row, epoch = rows[0]
        return Held(Job(*row), tenant, epoch, is_new=epoch == 1)

    async def advance(self, held: Held, progress: Progress | None) -> bool:
        """See JobBook."""
        given: dict[str, Any] = {"job": held.job.job, "epoch": held.epoch, "lease": LEASE_SECONDS}
        if progress is None:
            return bool(await ask(self._pool, _RENEW, given))
        refused = progress.rejections
        given |= {
            "items": progress.items,
            "accepted": progress.accepted,
            "rejected": progress.rejected,
            "content": progress.content,
            "sealed": progress.sealed,
            "numbers": [each.item for each in refused],
            "lines": [each.line for each in refused],
            "reasons": [each.reason for each in refused],
        }
        return bool(await ask(self._pool, _ADVANCE, given))

    async def release(self, held: Held) -> None:
        """See JobBook."""
        await ask(self._pool, _RELEASE, {"job": held.job.job, "epoch": held.epoch})

    async def find(self, tenant: str, job: UUID) -> Job | None:
        """See JobShelf."""
        rows = await ask(self._pool, _FIND, {"job": job, "tenant": tenant})
        return Job(*rows[0]) if rows else None

    async def page(self, tenant: str, before: UUID | None, limit: int) -> Sequence[Job]:
        """See JobShelf."""
        given = {"tenant": tenant, "before": before, "limit": limit}
        return [Job(*row) for row in await ask(self._pool, _PAGE, given)]

    async def rejections(self, tenant: str, job: UUID, after_item: int, limit: int) -> Sequence[RejectedItem]:
        """See JobShelf."""
        given = {"tenant": tenant, "job": job, "after": after_item, "limit": limit}
        return [RejectedItem(*row) for row in await ask(self._pool, _REJECTIONS, given)]

    async def cancel(self, tenant: str, job: UUID) -> Job | None:
        """See JobEnds."""
        rows = await ask(self._pool, _CANCEL, {"job": job, "tenant": tenant})
        return Job(*rows[0]) if rows else None


async def ask(
    pool: AsyncConnectionPool[Any], statement: LiteralString, given: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """One statement in its own transaction. Raises JobsUnavailableError."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(statement, given)
            return await cursor.fetchall() if cursor.description else []
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable):
        raise JobsUnavailableError from None
