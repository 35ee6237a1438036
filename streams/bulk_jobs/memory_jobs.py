"""`MemoryJobs`: the book of jobs in this process, for tests."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from producers.gateway.bulk_book import LEASE_SECONDS, Held, Job, JobBusyError, Progress, RejectedItem
from producers.uuid7 import time_of


class MemoryJobs:
    """A JobBook, a JobShelf and JobEnds. `now` counts seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._jobs: dict[UUID, tuple[str, Job, int, float]] = {}
        """Tenant, job, epoch, and until when its upload is taken for alive."""
        self._by_key: dict[tuple[str, bytes], UUID] = {}
        self._rejections: dict[UUID, dict[int, RejectedItem]] = {}

    async def begin(self, tenant: str, job: UUID, client_key: bytes | None) -> Held:
        """See JobBook."""
        known = None if client_key is None else self._by_key.setdefault((tenant, client_key), job)
        if known is None or known == job:
            made = Job(job, "open", 0, 0, 0, b"", is_uploading=True, created_at=time_of(job))
            self._put(tenant, made, 1)
            return Held(made, tenant, 1, is_new=True)
        _, found, epoch, alive_until = self._jobs[known]
        if found.state == "open":
            if alive_until > self._now():
                raise JobBusyError(known, alive_until - self._now())
            epoch += 1
            self._put(tenant, found, epoch)
        return Held(self._seen(known), tenant, epoch, is_new=False)

    async def advance(self, held: Held, progress: Progress | None) -> bool:
        """See JobBook."""
        tenant, job, epoch, _ = self._jobs[held.job.job]
        if epoch != held.epoch or job.state != "open":
            return False
        if progress is not None:
            state, sealed_at = ("sealed", datetime.now(UTC)) if progress.sealed else ("open", None)
            counts = {"items": progress.items, "accepted": progress.accepted, "rejected": progress.rejected}
            job = replace(job, **counts, content=progress.content, state=state, sealed_at=sealed_at)  # type: ignore[arg-type]
            self._rejections.setdefault(job.job, {}).update({each.item: each for each in progress.rejections})
        self._put(tenant, job, epoch)
        return True

    async def release(self, held: Held) -> None:
        """See JobBook."""
        tenant, job, epoch, _ = self._jobs[held.job.job]
        if epoch == held.epoch and job.state == "open":
            self._jobs[job.job] = (tenant, job, epoch, self._now())

    async def find(self, tenant: str, job: UUID) -> Job | None:
        """See JobShelf."""
        return self._seen(job) if job in self._jobs and self._jobs[job][0] == tenant else None

    async def page(self, tenant: str, before: UUID | None, limit: int) -> Sequence[Job]:
        """See JobShelf."""
        ours = sorted((job for job, row in self._jobs.items() if row[0] == tenant), reverse=True)
        return [self._seen(job) for job in ours if before is None or job < before][:limit]

    async def rejections(self, tenant: str, job: UUID, after_item: int, limit: int) -> Sequence[RejectedItem]:
        """See JobShelf."""
        found = self._rejections.get(job, {}) if await self.find(tenant, job) is not None else {}
        return [found[item] for item in sorted(found) if item > after_item][:limit]

    async def cancel(self, tenant: str, job: UUID) -> Job | None:
        """See JobEnds."""
        if await self.find(tenant, job) is None:
            return None
        _, found, epoch, alive_until = self._jobs[job]
        if found.state != "cancelled":
            cancelled = replace(found, state="cancelled", cancelled_at=datetime.now(UTC))
            self._jobs[job] = (tenant, cancelled, epoch, alive_until)
        return self._seen(job)

    def _put(self, tenant: str, job: Job, epoch: int) -> None:
        self._jobs[job.job] = (tenant, job, epoch, self._now() + LEASE_SECONDS)

    def _seen(self, job: UUID) -> Job:
        _, found, _, alive_until = self._jobs[job]
        return replace(found, is_uploading=found.state == "open" and alive_until > self._now())
