"""Taking an upload in: lot by lot checked, published and written down, so that it can be cut anywhere and go on.

A lot is written down only when the broker has all of it and when all lots before it are. What was published and not
written down is published again by the next upload: the very same records, see `ItemCheck`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from producers.bulk_split import BulkFileError, RawItem, Splitter
from producers.gateway.budgets import BudgetCheck, NoBudgets
from producers.gateway.bulk_book import (
    LEASE_SECONDS,
    Held,
    Job,
    JobBook,
    JobBusyError,
    JobsUnavailableError,
    Progress,
    RejectedItem,
)
from producers.gateway.bulk_check import ItemCheck
from producers.gateway.bulk_lots import Lot, TooManyItemsError, lots_in
from producers.gateway.bulk_problems import (
    broker_silent,
    busy_elsewhere,
    empty_upload,
    job_cancelled,
    job_lost,
    jobs_away,
    other_content,
    overloaded,
    refuse,
    too_many,
    unreadable,
)
from producers.gateway.callers import Caller
from producers.gateway.ids import SignedIds
from producers.gateway.load import Load, NoLoad
from producers.gateway.quotas import NoQuotas, QuotaAsk, Quotas
from producers.publisher import Publisher, PublisherClosedError, PublishError
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest

SLICE_ITEMS: Final = 200
"""Checked without a pause; other calls of this copy get their turn between."""
MOST_LOTS: Final = 4
"""Lots of one upload that wait for the broker or the book; then its bytes are no longer read."""
LONGEST_QUOTA_WAIT_SECONDS: Final = 5.0
_RENEW_SECONDS: Final = LEASE_SECONDS / 3


@dataclass(frozen=True, slots=True)
class Upload:
    """Who uploads what; `client_key` is a digest of the Idempotency-Key."""

    caller: Caller
    content: AsyncIterable[bytes]
    splitter: Splitter
    client_key: bytes | None
    address: str


@dataclass(frozen=True, slots=True)
class IntakePorts:
    """What an intake stands on."""

    ids: SignedIds
    book: JobBook
    publisher: Publisher
    default_model: str
    quotas: Quotas = field(default_factory=NoQuotas)
    budgets: BudgetCheck = field(default_factory=NoBudgets)
    load: Load = field(default_factory=NoLoad)


class BulkIntake:
    """Uploads into jobs."""

    def __init__(self, ports: IntakePorts) -> None:
        self._ports = ports

    async def take(self, upload: Upload) -> UUID:
        """The job, once the broker has every item of it that is a request. Raises Problem; then it may go on later."""
        ports = self._ports
        if (overload := ports.load.overload(upload.caller.tenant, "bulk")) is not None:
            raise overloaded(overload)
        new_job = ports.ids.new_job(upload.caller.tenant)
        try:
            held = await ports.book.begin(upload.caller.tenant, new_job, upload.client_key)
            async with self._lease(held), self._place(upload.caller, held.job):
                await _Taking(ports, upload, held).run()
        except JobBusyError as busy:
            raise busy_elsewhere(busy) from None
        except JobsUnavailableError:
            raise jobs_away() from None
        return held.job.job

    def check_of(self, upload: Upload, job: UUID) -> ItemCheck:
        """How the items of that job are checked."""
        return ItemCheck(self._ports.ids, upload.caller, job, self._ports.default_model)

    @asynccontextmanager
    async def _place(self, caller: Caller, job: Job) -> AsyncIterator[None]:
        refuse(await self._ports.quotas.begin_job(caller, str(job.job)))
        try:
            yield
        finally:
            await self._ports.quotas.end_job(caller, str(job.job))

    @asynccontextmanager
    async def _lease(self, held: Held) -> AsyncIterator[None]:
        """Kept alive while the block runs, and given up with it: a cut upload may go on elsewhere at once."""
        leaving = asyncio.Event()
        renewing = asyncio.ensure_future(self._renew(held, leaving))
        try:
            yield
        finally:
            leaving.set()  # a pool of connections may drop the cancellation (streams/cancelling.py)
            renewing.cancel()
            if held.job.state == "open":
                with suppress(JobsUnavailableError):
                    await asyncio.shield(self._ports.book.release(held))

    async def _renew(self, held: Held, leaving: asyncio.Event) -> None:
        while held.job.state == "open" and not leaving.is_set():
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(JobsUnavailableError):
                await self._ports.book.advance(held, None)


class _Taking:
    """One upload under way."""

    def __init__(self, ports: IntakePorts, upload: Upload, held: Held) -> None:
        self._ports = ports
        self._upload = upload
        self._held = held
        self._check = ItemCheck(ports.ids, upload.caller, held.job.job, ports.default_model)
        self._accepted = held.job.accepted
        self._rejected = held.job.rejected
        self._under_way: deque[asyncio.Task[None]] = deque()
        self._budget_verdicts: dict[tuple[str | None, ...], str | None] = {}
        """By department, user and application: asked once for all their lines."""

    async def run(self) -> None:
        job = self._held.job
        if job.state == "cancelled":
            raise job_cancelled(job)
        last = Lot(1, (), b"")
        try:
            async for lot in lots_in(self._upload.content, self._upload.splitter):
                last = lot
                if not self._is_known(lot):
                    await self._take(lot)
        except BulkFileError as error:
            raise unreadable(str(error), job) from None
        except TooManyItemsError:
            raise too_many(job) from None
        finally:
            await self._settle()
        if not last.items:
            raise empty_upload(job)
        if last.last < job.items:
            raise other_content(job)
        if job.state == "open":
            await self._seal(last)

    def _is_known(self, lot: Lot) -> bool:
        """Whether it was taken in by an earlier upload. Raises Problem 422 for another content."""
        job = self._held.job
        if lot.last > job.items:
            if job.state != "open" or lot.first <= job.items:
                raise other_content(job)
            return False
        if lot.last == job.items and lot.content != job.content:
            raise other_content(job)
        return True

    async def _take(self, lot: Lot) -> None:
        await self._spend(lot)
        rejections: list[RejectedItem] = []
        deliveries: list[asyncio.Task[None]] = []
        for at in range(0, len(lot.items), SLICE_ITEMS):
            records = await self._checked(lot.first + at, lot.items[at : at + SLICE_ITEMS], rejections)
            deliveries.append(asyncio.ensure_future(self._ports.publisher.publish(records)))
            await asyncio.sleep(0)
        self._rejected += len(rejections)
        self._accepted += len(lot.items) - len(rejections)
        progress = Progress(lot.last, self._accepted, self._rejected, lot.content, rejections)
        before = self._under_way[-1] if self._under_way else None
        self._under_way.append(asyncio.ensure_future(self._write_down(deliveries, before, progress)))
        self._ports.load.note_accepted(self._upload.caller.tenant, "bulk", len(lot.items) - len(rejections))
        while len(self._under_way) >= MOST_LOTS or (self._under_way and self._under_way[0].done()):
            await self._under_way.popleft()

    async def _checked(
        self, first: int, items: Sequence[RawItem], rejections: list[RejectedItem]
    ) -> list[OutgoingRecord]:
        records: list[OutgoingRecord] = []
        for number, item in enumerate(items, first):
            checked = self._check.checked(number, item)
            if not isinstance(checked, str):
                request = checked.request
                who = (request.department, request.user_id, request.application)
                if who not in self._budget_verdicts:
                    self._budget_verdicts[who] = await self._over_budget(request)
                checked = self._budget_verdicts[who] or checked
            if isinstance(checked, str):
                rejections.append(RejectedItem(number, item.line, checked))
            else:
                records.append(checked.record)
        return records

    async def _over_budget(self, request: PromptRequest) -> str | None:
        spent = await self._ports.budgets.spent(request)
        return None if spent is None else f"the budget {spent.name} is spent"

    async def _write_down(
        self, deliveries: list[asyncio.Task[None]], before: asyncio.Task[None] | None, progress: Progress
    ) -> None:
        try:
            for delivery in deliveries:
                await delivery
        except (PublishError, PublisherClosedError):
            self._ports.load.note_broker_silent()
            raise broker_silent(self._held.job) from None
        finally:
            await asyncio.gather(*deliveries, return_exceptions=True)
        if before is not None:
            await asyncio.shield(before)
        if not await self._ports.book.advance(self._held, progress):
            raise job_lost(self._held.job)

    async def _settle(self) -> None:
        """Let what is under way end, so that as much as can be is written down."""
        outcomes = await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _seal(self, last: Lot) -> None:
        progress = Progress(last.last, self._accepted, self._rejected, last.content, sealed=True)
        if not await self._ports.book.advance(self._held, progress):
            raise job_lost(self._held.job)

    async def _spend(self, lot: Lot) -> None:
        """A rate is waited for, which slows the upload down; a quota that is used up ends it."""
        ask = QuotaAsk(
            self._upload.caller,
            requests=len(lot.items),
            bytes=sum(len(item.raw) for item in lot.items),
            user=None,
            address=self._upload.address,
        )
        waited = 0.0
        while not (verdict := await self._ports.quotas.spend(ask)).allowed:
            waited += verdict.retry_after_seconds
            if waited > LONGEST_QUOTA_WAIT_SECONDS:
                refuse(verdict, self._held.job.job)
            await asyncio.sleep(verdict.retry_after_seconds)
