"""An upload that is cut anywhere and sent again ends with every item published, each under one id and as one record."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.bulk_split import JsonLines, RawItem
from producers.gateway import bulk_intake
from producers.gateway.budgets import SpentBudget
from producers.gateway.bulk_book import Held, Job, Progress, Tally
from producers.gateway.bulk_desk import progress_of, state_of
from producers.gateway.bulk_intake import BulkIntake, IntakePorts, Upload
from producers.gateway.bulk_lots import LOT_ITEMS, digest_of
from producers.gateway.callers import Caller, KeyId
from producers.gateway.ids import SignedIds, number_of
from producers.gateway.load import NoLoad, Overload
from producers.gateway.problems import Problem
from producers.gateway.quotas import NoQuotas, QuotaAsk, QuotaVerdict
from producers.memory_publisher import MemoryPublisher
from producers.publisher import PublishError, Refusal
from producers.uuid7 import uuid7
from schemas.codec import decode_request
from schemas.record import OutgoingRecord, Record
from schemas.request import PromptRequest
from schemas.topics import Lane
from streams.bulk_jobs.memory_jobs import MemoryJobs

IDS = SignedIds(b"a secret of sixteen bytes")
CALLER = Caller(KeyId("k"), "acme", frozenset({"submit"}))


class CutError(Exception):
    """The connection broke."""


class PartialPublisher(MemoryPublisher):
    """Confirms so many records, then none; of the call that fails the first half is in the topic all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        await asyncio.sleep(0)
        if len(records) > self.left:
            await super().publish(records[: len(records) // 2])
            raise PublishError([Refusal(record, "timed out") for record in records], len(records))
        self.left -= len(records)
        await super().publish(records)


@dataclass
class Desk:
    publisher: PartialPublisher = field(default_factory=PartialPublisher)
    clock: float = 0.0
    book: MemoryJobs = field(init=False)

    def __post_init__(self) -> None:
        self.book = MemoryJobs(lambda: self.clock)

    def intake(self, **ports: object) -> BulkIntake:
        return BulkIntake(IntakePorts(IDS, self.book, self.publisher, "claude-haiku-5-5", **ports))  # type: ignore[arg-type]

    async def upload(self, content: AsyncIterator[bytes], key: bytes | None = b"key", **ports: object) -> UUID:
        return await self.intake(**ports).take(Upload(CALLER, content, JsonLines(), key, "127.0.0.1"))

    def asked(self) -> dict[UUID, str]:
        found = {}
        for record in self.publisher.records:
            request = decode_request(Record(record.topic, 0, 0, record.key, record.value, record.headers, 1))
            assert request.messages is not None
            found[request.request_id] = str(request.messages[0].content)
        return found


def a_file(items: int) -> bytes:
    return b"".join(b'{"prompt":"question %d"}\n' % number for number in range(1, items + 1))


async def pieces(content: bytes, size: int = 8192, cut_at: int | None = None) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        if cut_at is not None and at >= cut_at:
            raise CutError
        yield content[at : at + size]
        await asyncio.sleep(0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4 * LOT_ITEMS + 7),
    st.lists(st.tuples(st.integers(0, 120_000) | st.none(), st.integers(0, 6000) | st.none()), max_size=4),
    st.integers(500, 50_000),
)
def test_an_upload_that_is_cut_anywhere_goes_on_to_its_end(
    items: int, cuts: list[tuple[int | None, int | None]], size: int
) -> None:
    asyncio.run(_cut_and_sent_again(items, cuts, size))


async def _cut_and_sent_again(items: int, cuts: list[tuple[int | None, int | None]], size: int) -> None:
    desk, content = Desk(), a_file(items)
    jobs = set()
    for cut_at, confirmed in cuts:
        desk.publisher.left = 10**9 if confirmed is None else confirmed
        try:
            jobs.add(await desk.upload(pieces(content, size, cut_at)))
        except (CutError, Problem):
            (cut,) = await desk.book.page("acme", None, 9)
            jobs.add(cut.job)
    desk.publisher.left = 10**9
    jobs.add(await desk.upload(pieces(content, size)))
    (job_id,) = jobs
    job = await desk.book.find("acme", job_id)
    assert job is not None
    assert (job.state, job.items, job.accepted, job.rejected) == ("sealed", items, items, 0)
    asked = desk.asked()
    assert {number_of(identity): text for identity, text in asked.items()} == {
        number: f"question {number}" for number in range(1, items + 1)
    }
    # What was published twice is the same to the byte.
    assert len({(record.key, record.value, record.headers) for record in desk.publisher.records}) == items


async def test_after_a_cut_only_what_was_not_written_down_is_published_again() -> None:
    desk, content = Desk(), a_file(3 * LOT_ITEMS)
    desk.publisher.left = 2 * LOT_ITEMS
    with pytest.raises(Problem) as refused:
        await desk.upload(pieces(content))
    assert refused.value.code == "broker_away"
    published = len(desk.publisher.records)
    desk.publisher.left = 10**9
    await desk.upload(pieces(content))
    assert len(desk.publisher.records) - published == LOT_ITEMS


class DeafJobs(MemoryJobs):
    """Drops the cancellation of a renewal, as a pool may that has a connection at that moment."""

    renewals = 0

    async def advance(self, held: Held, progress: Progress | None) -> bool:
        if progress is None:
            self.renewals += 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return await super().advance(held, progress)


async def test_a_lease_is_not_renewed_after_its_upload_whatever_becomes_of_the_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_intake, "_RENEW_SECONDS", 0.0)
    desk = Desk()
    desk.book = book = DeafJobs(lambda: desk.clock)
    with pytest.raises(CutError):
        await desk.upload(pieces(a_file(3), 10, cut_at=40))
    for _ in range(20):
        await asyncio.sleep(0)
    assert book.renewals == 1


async def test_a_copy_that_lost_its_job_to_another_stops() -> None:
    desk, content = Desk(), a_file(2 * LOT_ITEMS)

    async def overtaken() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]
        desk.clock += 60
        await desk.book.begin("acme", uuid7(), b"key")
        yield content[len(content) // 2 :]

    with pytest.raises(Problem) as refused:
        await desk.upload(overtaken())
    assert refused.value.code == "job_lost"


async def test_a_spent_budget_rejects_its_lines_alone_and_is_asked_once_for_them() -> None:
    asked = []

    class Budgets:
        async def spent(self, request: PromptRequest) -> SpentBudget | None:
            asked.append(request.department)
            return SpentBudget("of the lab") if request.department == "lab" else None

    desk = Desk()
    lines = [b'{"prompt":"a","department":"lab"}\n', b'{"prompt":"b","department":"noc"}\n'] * 50
    job = await desk.upload(pieces(b"".join(lines)), budgets=Budgets())
    refused = await desk.book.rejections("acme", job, 0, 100)
    assert {each.reason for each in refused} == {"the budget of the lab is spent"}
    assert (len(refused), len(desk.asked())) == (50, 50)
    assert sorted(map(str, asked)) == ["lab", "noc"]


async def test_where_nothing_more_is_taken_in_the_upload_is_not_read() -> None:
    class Full(NoLoad):
        def overload(self, tenant: str, lane: Lane) -> Overload | None:
            del tenant
            return Overload("backlog", 7.2) if lane == "bulk" else None

    desk = Desk()
    with pytest.raises(Problem) as refused:
        await desk.upload(pieces(a_file(1)), load=Full())
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "8")
    assert await desk.book.page("acme", None, 9) == []


async def test_a_rate_is_waited_for_and_a_quota_that_is_used_up_ends_the_upload() -> None:
    class Rated(NoQuotas):
        def __init__(self, waits: list[float]) -> None:
            self.waits = waits

        async def spend(self, ask: QuotaAsk) -> QuotaVerdict:
            del ask
            wait = self.waits.pop(0) if self.waits else 0.0
            return QuotaVerdict(allowed=not wait, retry_after_seconds=wait, refused_by="" if not wait else "key_day")

    desk = Desk()
    await desk.upload(pieces(a_file(3)), quotas=Rated([0.01, 0.01]))
    with pytest.raises(Problem) as refused:
        await desk.upload(pieces(a_file(3)), b"other", quotas=Rated([3600.0]))
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "3600")


async def test_the_place_of_a_job_is_given_back_however_its_upload_ends() -> None:
    held: list[str] = []

    class Places(NoQuotas):
        async def begin_job(self, caller: Caller, job: str) -> QuotaVerdict:
            del caller
            held.append(job)
            return QuotaVerdict(allowed=len(held) == 1, retry_after_seconds=3.0, refused_by="key_jobs")

        async def end_job(self, caller: Caller, job: str) -> None:
            del caller
            held.remove(job)

    desk = Desk()
    with pytest.raises(CutError):
        await desk.upload(pieces(a_file(10), cut_at=0), quotas=Places())
    assert held == []
    await desk.upload(pieces(a_file(10)), quotas=Places())
    assert held == []


@given(st.lists(st.binary(max_size=8), max_size=6), st.lists(st.binary(max_size=8), max_size=6))
def test_only_the_same_items_have_the_same_digest(one: list[bytes], other: list[bytes]) -> None:
    def digest(items: list[bytes]) -> bytes:
        return digest_of(b"", [RawItem(1, raw) for raw in items])

    assert (digest(one) == digest(other)) == (one == other)


A_JOB = Job(uuid7(), "sealed", 12, 10, 2, b"", is_uploading=False, created_at=datetime.now(UTC))


def test_progress_counts_what_no_store_has_yet_as_pending() -> None:
    tallies = [
        Tally("completed", "model", None, 4, Decimal("0.5"), Decimal(0), 3, None),
        Tally("failed", None, "model_refused", 1, None, None, 0, None),
        Tally("pending", None, None, 2, None, None, 0, None),
    ]
    told = progress_of(A_JOB, tallies)
    assert told["by_status"] == {"pending": 5, "completed": 4, "failed": 1}
    assert (told["done"], told["percent"], told["cost_usd"]) == (5, 50.0, "0.5")
    assert told["failures"] == [{"reason": "model_refused", "lines": 1}]
    assert told["eta_seconds"] == 50.0


def test_progress_of_a_job_without_accepted_items_is_whole() -> None:
    told = progress_of(Job(uuid7(), "sealed", 2, 0, 2, b"", is_uploading=False, created_at=datetime.now(UTC)), [])
    assert (told["percent"], told["eta_seconds"], told["by_status"]) == (100.0, 0.0, {})


def test_a_job_whose_upload_was_cut_is_interrupted() -> None:
    states = itertools.product(("open", "sealed"), (True, False))
    told = [
        state_of(Job(uuid7(), state, 0, 0, 0, b"", is_uploading=alive, created_at=datetime.now(UTC)))  # type: ignore[arg-type]
        for state, alive in states
    ]
    assert told == ["uploading", "interrupted", "sealed", "sealed"]
