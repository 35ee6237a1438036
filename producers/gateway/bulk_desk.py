"""A bulk job as its owner sees it: counts, progress, verdicts, results, and its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from producers.gateway.bulk_book import (
    RECENT_SECONDS,
    Job,
    JobEnds,
    JobLines,
    JobShelf,
    JobsUnavailableError,
    RejectedItem,
    Tally,
)
from producers.gateway.bulk_problems import broker_refused_cancel, job_missing, jobs_away
from producers.gateway.ids import SignedIds, lines_of
from producers.publisher import Publisher, PublisherClosedError, PublishError
from schemas.codec import encode_cancel
from schemas.control import CancelRequest

Json = dict[str, Any]

FIRST_REJECTIONS: Final = 1000
_TALLY_SECONDS: Final = 1.0
_TALLIES_KEPT: Final = 1000
_PAGE_LINES: Final = 500
_PENDING: Final = "pending"


@dataclass(frozen=True, slots=True)
class DeskPorts:
    """What the desk stands on."""

    ids: SignedIds
    shelf: JobShelf
    ends: JobEnds
    lines: JobLines
    publisher: Publisher
    now: Callable[[], datetime]


class BulkDesk:
    """Answers for one tenant at a time; another tenant's job looks exactly like a missing one."""

    def __init__(self, ports: DeskPorts) -> None:
        self._ports = ports
        self._tallies: dict[UUID, tuple[float, asyncio.Task[Sequence[Tally]]]] = {}

    async def job(self, tenant: str, job: UUID) -> Job:
        """Raises Problem 404, 503."""
        # An id that is none of the tenant's jobs asks no store.
        if not self._ports.ids.is_our_job(tenant, job):
            raise job_missing()
        try:
            found = await self._ports.shelf.find(tenant, job)
        except JobsUnavailableError:
            raise jobs_away() from None
        if found is None:
            raise job_missing()
        return found

    async def receipt(self, tenant: str, job: UUID) -> Json:
        """What an upload is answered: its counts and the first items that were refused."""
        found = await self.job(tenant, job)
        refused = await self._rejections(tenant, job, 0, FIRST_REJECTIONS)
        return {
            **summary_of(found),
            "rejections": [each._asdict() for each in refused],
            "more_rejections": found.rejected > len(refused),
        }

    async def status(self, tenant: str, job: UUID) -> Json:
        """Counts of its lines, how far and how fast, what it cost; not older than a second."""
        found = await self.job(tenant, job)
        try:
            tallies = await self._tally(tenant, job)
        except JobsUnavailableError:
            raise jobs_away() from None
        return {**summary_of(found), **progress_of(found, tallies)}

    async def page(self, tenant: str, before: UUID | None, limit: int) -> list[Json]:
        try:
            return [summary_of(job) for job in await self._ports.shelf.page(tenant, before, limit)]
        except JobsUnavailableError:
            raise jobs_away() from None

    async def verdicts(self, tenant: str, job: UUID, status: str, after_item: int, limit: int) -> Json:
        """The verdict of each item behind that one: the id it was accepted under, or why it was refused."""
        found = await self.job(tenant, job)
        refused = await self._rejections(tenant, job, after_item, limit)
        is_full = len(refused) == limit
        if status == "rejected":
            return {"lines": [_refused(each) for each in refused], "next": refused[-1].item if is_full else None}
        by_item = {each.item: each for each in refused}
        # Behind the last of a full page of refusals there may be more of them.
        last = refused[-1].item if is_full else found.items
        told: list[Json] = []
        line, item = self._ports.ids.numbering(tenant, job), after_item
        while item < last and len(told) < limit:
            item += 1
            if item not in by_item:
                told.append({"status": "accepted", "item": item, "request_id": line(item)})
            elif status == "all":
                told.append(_refused(by_item[item]))
        return {"lines": told, "next": item if item < found.items else None}

    async def results(self, tenant: str, job: UUID) -> AsyncIterator[bytes]:
        """All lines that have ended, in their order, a page at a time. Raises Problem before the first."""
        await self.job(tenant, job)
        first = await self._lines(tenant, job, None)
        return self._pages(tenant, job, first)

    async def cancel(self, tenant: str, job: UUID, by: str) -> Job:
        """Take no more lines; those without a result end as cancelled. Raises Problem 404, 503."""
        await self.job(tenant, job)
        try:
            ended = await self._ports.ends.cancel(tenant, job)
        except JobsUnavailableError:
            raise jobs_away() from None
        if ended is None:
            raise job_missing()
        lines = lines_of(job)
        event = CancelRequest(
            request_id=lines.first, through=lines.last, tenant=tenant, by=by[:128], at=self._ports.now()
        )
        try:
            await self._ports.publisher.publish([encode_cancel(event)])
        except (PublishError, PublisherClosedError):
            raise broker_refused_cancel() from None
        return ended

    async def _pages(self, tenant: str, job: UUID, first: Sequence[tuple[UUID, bytes]]) -> AsyncIterator[bytes]:
        page = first
        while page:
            yield b"".join(line + b"\n" for _, line in page)
            if len(page) < _PAGE_LINES:
                return
            page = await self._lines(tenant, job, page[-1][0])

    async def _lines(self, tenant: str, job: UUID, after: UUID | None) -> Sequence[tuple[UUID, bytes]]:
        try:
            return await self._ports.lines.results(tenant, job, after, _PAGE_LINES)
        except JobsUnavailableError:
            raise jobs_away() from None

    async def _rejections(self, tenant: str, job: UUID, after_item: int, limit: int) -> Sequence[RejectedItem]:
        try:
            return await self._ports.shelf.rejections(tenant, job, after_item, limit)
        except JobsUnavailableError:
            raise jobs_away() from None

    async def _tally(self, tenant: str, job: UUID) -> Sequence[Tally]:
        """Asked once a second, by whoever comes first; the others wait with it."""
        now = asyncio.get_running_loop().time()
        kept = self._tallies.get(job)
        if kept is None or now - kept[0] > _TALLY_SECONDS:
            while len(self._tallies) >= _TALLIES_KEPT:
                self._tallies.pop(next(iter(self._tallies)))
            kept = (now, asyncio.ensure_future(self._ports.lines.tally(tenant, job)))
            self._tallies[job] = kept
        try:
            return await asyncio.shield(kept[1])
        except JobsUnavailableError:
            self._tallies.pop(job, None)
            raise


def _refused(rejected: RejectedItem) -> Json:
    return {"status": "rejected", **rejected._asdict()}


def summary_of(job: Job) -> Json:
    """A job from its book alone."""
    return {
        "id": str(job.job),
        "state": state_of(job),
        "items": job.items,
        "accepted": job.accepted,
        "rejected": job.rejected,
        "created_at": job.created_at,
        "sealed_at": job.sealed_at,
        "cancelled_at": job.cancelled_at,
    }


def state_of(job: Job) -> str:
    """`interrupted`: its upload was cut; what was accepted is answered, the rest may still be sent."""
    if job.state != "open":
        return job.state
    return "uploading" if job.is_uploading else "interrupted"


def progress_of(job: Job, tallies: Sequence[Tally]) -> Json:
    """How far the lines are. A line that no store has yet counts as pending."""
    ended = [tally for tally in tallies if tally.status != _PENDING]
    done = sum(tally.lines for tally in ended)
    left = max(job.accepted - done, 0)
    rate = sum(tally.recent for tally in ended) / RECENT_SECONDS
    by_status: dict[str, int] = {_PENDING: left} if left else {}
    by_source: dict[str, int] = {}
    failures: dict[str, int] = {}
    for tally in ended:
        by_status[tally.status] = by_status.get(tally.status, 0) + tally.lines
        if tally.source is not None:
            by_source[tally.source] = by_source.get(tally.source, 0) + tally.lines
        if tally.status != "completed":
            reason = tally.error_code or tally.status
            failures[reason] = failures.get(reason, 0) + tally.lines
    return {
        "done": done,
        "percent": round(100 * done / job.accepted, 2) if job.accepted else 100.0,
        "by_status": by_status,
        "by_source": by_source,
        "failures": [{"reason": reason, "lines": lines} for reason, lines in sorted(failures.items())],
        "rate_per_second": round(rate, 2),
        "eta_seconds": None if not rate and left else round(left / rate, 1) if left else 0.0,
        "cost_usd": _sum(tally.cost_usd for tally in ended),
        "saved_usd": _sum(tally.saved_usd for tally in ended),
        "last_completed_at": max((tally.last_completed_at for tally in ended if tally.last_completed_at), default=None),
    }


def _sum(amounts: "Any") -> str:
    return format(sum((amount for amount in amounts if amount is not None), Decimal(0)), "f")
