"""The verdicts of a job are told whole, in pages of any size."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.gateway.bulk_book import NoLines, Progress, RejectedItem
from producers.gateway.bulk_desk import BulkDesk, DeskPorts
from producers.gateway.ids import SignedIds
from producers.gateway.problems import Problem
from producers.memory_publisher import MemoryPublisher
from producers.uuid7 import uuid7
from schemas.codec import decode_cancel
from schemas.record import Record
from streams.bulk_jobs.memory_jobs import MemoryJobs

IDS = SignedIds(b"a secret of sixteen bytes")


def a_desk() -> tuple[BulkDesk, MemoryJobs, MemoryPublisher]:
    book, publisher = MemoryJobs(lambda: 0.0), MemoryPublisher()
    return BulkDesk(DeskPorts(IDS, book, book, NoLines(), publisher, lambda: datetime.now(UTC))), book, publisher


@given(
    st.integers(0, 40), st.sets(st.integers(1, 40)), st.integers(1, 7), st.sampled_from(["all", "accepted", "rejected"])
)
def test_pages_of_verdicts_are_whole(items: int, refused: set[int], limit: int, status: str) -> None:
    asyncio.run(_pages(items, {item for item in refused if item <= items}, limit, status))


async def _pages(items: int, refused: set[int], limit: int, status: str) -> None:
    desk, book, _ = a_desk()
    job = IDS.new_job("acme")
    rejections = [RejectedItem(item, item + 1, "no") for item in sorted(refused)]
    held = await book.begin("acme", job, None)
    await book.advance(held, Progress(items, items - len(refused), len(refused), b"", rejections, sealed=True))
    told: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = await desk.verdicts("acme", job, status, after, limit)
        assert len(page["lines"]) <= limit
        told += page["lines"]
        after = page["next"]
    wanted = {"all": range(1, items + 1), "rejected": sorted(refused)}
    accepted = [item for item in range(1, items + 1) if item not in refused]
    assert [each["item"] for each in told] == list(wanted.get(status, accepted))
    assert {each["item"]: each["request_id"] for each in told if each["status"] == "accepted"} == (
        {} if status == "rejected" else {item: str(IDS.line("acme", job, item)) for item in accepted}
    )


async def test_an_id_that_was_not_given_out_is_the_same_404_as_a_job_that_is_not_there() -> None:
    desk, book, _ = a_desk()
    job = IDS.new_job("acme")
    await book.begin("acme", job, None)
    told = []
    for tenant, identity in (("other", job), ("acme", uuid7()), ("acme", IDS.new("acme"))):
        with pytest.raises(Problem) as refused:
            await desk.job(tenant, identity)
        told.append(refused.value.body())
    assert told[0] == told[1] == told[2]
    assert told[0]["status"] == 404


async def test_a_cancel_names_the_whole_range_and_who_asks() -> None:
    desk, book, publisher = a_desk()
    job = IDS.new_job("acme")
    await book.begin("acme", job, None)
    await desk.cancel("acme", job, "key k-1")
    (record,) = publisher.records
    event = decode_cancel(Record(record.topic, 0, 0, record.key, record.value, record.headers, 1))
    assert event.through is not None
    assert event.request_id < IDS.line("acme", job, 1) < IDS.line("acme", job, 100_000) < event.through
    assert event.by == "key k-1"
