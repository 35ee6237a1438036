"""What every book of bulk jobs promises: an upload that is cut anywhere goes on, and only one goes on at a time."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from psycopg_pool import AsyncConnectionPool

from ops.migrations.apply import migrate_postgres
from producers.gateway.bulk_book import (
    Held,
    JobBusyError,
    JobStore,
    JobsUnavailableError,
    Progress,
    RejectedItem,
)
from producers.uuid7 import uuid7
from streams.bulk_jobs.memory_jobs import MemoryJobs
from streams.bulk_jobs.postgres_jobs import PostgresJobs

REFUSED = (RejectedItem(3, 4, "messages: missing"), RejectedItem(9, 11, "not valid JSON"))
SOME = Progress(1000, 998, 2, b"digest of a thousand", REFUSED)


@pytest.fixture(params=["memory", "postgres"])
async def book(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobs(time.monotonic)
        return
    dsn = request.getfixturevalue("postgres_dsn")
    migrate_postgres(dsn, datetime.now(UTC))
    async with AsyncConnectionPool(dsn, min_size=1, max_size=2, kwargs={"prepare_threshold": None}) as pool:
        yield PostgresJobs(pool)


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


async def cut_upload(book: JobStore, tenant: str, key: bytes) -> Held:
    held = await book.begin(tenant, uuid7(), key)
    assert await book.advance(held, SOME)
    await book.release(held)
    return held


async def test_a_new_job_has_nothing_in_it_and_is_uploading(book: JobStore, tenant: str) -> None:
    held = await book.begin(tenant, uuid7(), None)
    assert (held.is_new, held.job.state, held.job.items, held.job.is_uploading) == (True, "open", 0, True)
    assert await book.find(tenant, held.job.job) is not None


async def test_while_an_upload_is_alive_no_other_takes_its_key(book: JobStore, tenant: str) -> None:
    held = await book.begin(tenant, uuid7(), b"key")
    with pytest.raises(JobBusyError) as busy:
        await book.begin(tenant, uuid7(), b"key")
    assert busy.value.job == held.job.job
    assert busy.value.retry_after_seconds > 0


async def test_a_cut_upload_goes_on_where_it_was_written_down(book: JobStore, tenant: str) -> None:
    first = await cut_upload(book, tenant, b"key")
    again = await book.begin(tenant, uuid7(), b"key")
    assert again.job.job == first.job.job
    assert not again.is_new
    assert (again.job.items, again.job.accepted, again.job.rejected, again.job.content) == SOME[:4]


async def test_who_was_taken_over_writes_nothing_down_any_more(book: JobStore, tenant: str) -> None:
    first = await cut_upload(book, tenant, b"key")
    again = await book.begin(tenant, uuid7(), b"key")
    assert not await book.advance(first, SOME._replace(items=2000))
    await book.release(first)
    assert await book.advance(again, None)
    found = await book.find(tenant, first.job.job)
    assert found is not None
    assert (found.items, found.is_uploading) == (1000, True)


async def test_a_sealed_job_is_found_under_its_key_and_stays_as_it_is(book: JobStore, tenant: str) -> None:
    held = await book.begin(tenant, uuid7(), b"key")
    assert await book.advance(held, SOME._replace(sealed=True))
    again = await book.begin(tenant, uuid7(), b"key")
    assert (again.job.job, again.job.state) == (held.job.job, "sealed")
    assert again.job.sealed_at is not None
    assert not await book.advance(held, SOME)


async def test_two_tenants_with_the_same_key_have_a_job_each(book: JobStore, tenant: str) -> None:
    ours, theirs = await book.begin(tenant, uuid7(), b"key"), await book.begin(f"{tenant}-2", uuid7(), b"key")
    assert ours.job.job != theirs.job.job
    assert await book.find(f"{tenant}-2", ours.job.job) is None
    assert await book.rejections(f"{tenant}-2", ours.job.job, 0, 10) == []
    assert await book.cancel(f"{tenant}-2", ours.job.job) is None
    assert [job.job for job in await book.page(tenant, None, 10)] == [ours.job.job]


async def test_refused_items_are_kept_once_and_read_in_pages(book: JobStore, tenant: str) -> None:
    held = await book.begin(tenant, uuid7(), None)
    for _ in range(2):
        assert await book.advance(held, SOME)
    assert list(await book.rejections(tenant, held.job.job, 0, 10)) == list(REFUSED)
    assert list(await book.rejections(tenant, held.job.job, 3, 10)) == [REFUSED[1]]
    assert list(await book.rejections(tenant, held.job.job, 0, 1)) == [REFUSED[0]]


async def test_a_cancelled_job_takes_no_more_lines(book: JobStore, tenant: str) -> None:
    held = await book.begin(tenant, uuid7(), b"key")
    first, second = await book.cancel(tenant, held.job.job), await book.cancel(tenant, held.job.job)
    assert first is not None
    assert second is not None
    assert (first.state, second.cancelled_at) == ("cancelled", first.cancelled_at)
    assert not await book.advance(held, SOME)
    assert (await book.begin(tenant, uuid7(), b"key")).job.state == "cancelled"


async def test_jobs_are_listed_newest_first_in_pages(book: JobStore, tenant: str) -> None:
    made: list[UUID] = [uuid7(1_000_000 + number) for number in range(5)]
    for job in made:
        await book.begin(tenant, job, None)
    page = await book.page(tenant, None, 3)
    assert [job.job for job in page] == made[:1:-1]
    assert [job.job for job in await book.page(tenant, page[-1].job, 3)] == made[1::-1]


async def test_a_store_that_is_away_is_told_as_such() -> None:
    pool: AsyncConnectionPool = AsyncConnectionPool(
        "postgresql://u:p@127.0.0.1:1/d", min_size=0, max_size=1, timeout=1, open=False
    )
    await pool.open()
    with pytest.raises(JobsUnavailableError):
        await PostgresJobs(pool).find("acme", uuid7())
    await pool.close()
