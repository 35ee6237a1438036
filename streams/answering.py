"""The order that keeps the invariants, on one screen.

decode -> admit -> cache -> (single flight: claim, call, settle, remember) -> publish, confirmed -> release.
A record is released only after its result, its retry, or its dead letter is on the broker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from producers.publisher import Publisher
from schemas.codec import decode_request, encode_result
from schemas.dead_letter import DecodeError, dead_letter_of
from schemas.record import OutgoingRecord, Record
from schemas.result import PromptResult, Source
from schemas.retry import retry_record_of
from streams import metrics
from streams.admission import Admission, Refusal, Work
from streams.admission.intake_guard import IntakeGuard
from streams.cache.port import CacheKey
from streams.cache.tiers import CacheHit, TieredCache
from streams.failpoints import Failpoints
from streams.flights import SingleFlight
from streams.logs import logger_named
from streams.paying import TOO_LATE, Deferred, FleetOutcomeUnknown, NotAnswered, OverBudget, Paid, Payer, Withdrawn
from streams.request_key import request_key_of
from streams.results import cancelled, completed, from_entry, not_answered
from streams.runner import Release
from streams.sharing import cache_keys_of, is_outdated, may_have_paid_before, request_keys_of, served

log = logger_named("answering")

Keys = tuple[CacheKey, ...]

Known = list[tuple[Record, OutgoingRecord]]
"""Records whose way is decided, each with what is to be published for it."""


class RecordCrashError(Exception):
    """A bug met at one record: the worker ends, and the record is condemned when it does so again and again."""

    def __init__(self, record: Record) -> None:
        super().__init__(f"{record.topic}, partition {record.partition}, offset {record.offset}")
        self.record = record


class Answering:
    """Answers batches of records. Raises on a bug, or when the broker confirms nothing: then nothing is released."""

    def __init__(
        self,
        guard: IntakeGuard,
        admission: Admission,
        cache: TieredCache,
        payer: Payer,
        publisher: Publisher,
        failpoints: Failpoints,
        now: Callable[[], datetime],
    ) -> None:
        self._guard = guard
        self._admission = admission
        self._cache = cache
        self._payer = payer
        self._publisher = publisher
        self._failpoints = failpoints
        self._now = now
        self._flights: SingleFlight[tuple[str, bool], Paid] = SingleFlight()

    async def answer(self, records: Sequence[Record], release: Release) -> None:
        """Answer each record and release it; what is known goes out in one batch, before what must be asked."""
        known: Known = []
        late: list[Work] = []
        works = self._take_in(records, known, late)
        places = [(work, cache_keys_of(work) if work.request.cache.mode == "use" else ()) for work in works]
        hits = await self._cache.find_many([key for _, keys in places for key in keys])
        misses = self._answer_hits(places, hits, known) if hits else works
        # What came too late may have been paid before and delivered again: the ledger knows.
        unanswered = (*misses, *late)
        await asyncio.gather(self._finish(known, release), *(self._answer_miss(work, release) for work in unanswered))

    def _take_in(self, records: Sequence[Record], known: Known, late: list[Work]) -> list[Work]:
        """Decode and admit; what ends here is added to `known`, what has expired to `late`."""
        works: list[Work] = []
        unreadable = 0
        now = self._now()
        metrics.RECORDS.labels(records[0].topic).inc(len(records))
        for record in records:
            try:
                self._guard.check(record)
                admitted = self._admission.admit(record, decode_request(record), now)
            except DecodeError as error:
                unreadable += 1
                known.append((record, self._dead_letter(record, error, now)))
            except Exception as error:
                raise RecordCrashError(record) from error
            else:
                if isinstance(admitted, Refusal) and admitted.status == "expired":
                    late.append(admitted.work)
                elif isinstance(admitted, Refusal):
                    refused = not_answered(admitted.work, admitted.status, admitted.error, admitted.work.attempts, now)
                    known.append((record, _outgoing(admitted.work, refused)))
                else:
                    works.append(admitted)
        self._guard.saw_readable(len(records) - unreadable)
        return works

    def _answer_hits(
        self, places: Sequence[tuple[Work, Keys]], hits: Mapping[CacheKey, CacheHit], known: Known
    ) -> list[Work]:
        """Add the results of hits to `known`; the works that are left."""
        misses: list[Work] = []
        seconds: dict[Source, list[float]] = defaultdict(list)
        now = self._now()
        for work, keys in places:
            hit = _hit_for(work, keys, hits)
            if hit is None:
                misses.append(work)
            elif self._guard.is_cancelled(work):
                known.append((work.record, _outgoing(work, cancelled(work, hit.entry, now))))
            else:
                known.append((work.record, from_entry(work, hit.entry, hit.tier, now)))
                seconds[hit.tier].append((now - work.request.accepted_at).total_seconds())
        for source, waited in seconds.items():
            _count("completed", source, waited)
        return misses

    async def _answer_miss(self, work: Work, release: Release) -> None:
        self._failpoints.reach("before_claim", work.request.labels)
        try:
            outgoing = await self._asked(work)
        except Exception as error:
            raise RecordCrashError(work.record) from error
        await self._finish([(work.record, outgoing)], release)

    async def _asked(self, work: Work) -> OutgoingRecord:
        """What is to be published for a request nobody knew the answer of."""
        try:
            paid, leads = await self._fly(work)
        except NotAnswered as end:
            log.warning("not_answered", request_id=str(work.request.request_id), code=end.error.code)
            return _outgoing(work, not_answered(work, end.status, end.error, end.attempts, self._now()))
        except Deferred as delay:
            metrics.DEFERRED.labels(delay.code).inc()
            return retry_record_of(work.record, delay.due_at, work.attempts + 1, delay.code)
        except Withdrawn:
            return _outgoing(work, cancelled(work, None, self._now()))
        if self._guard.is_cancelled(work):
            return _outgoing(work, cancelled(work, paid.entry, self._now()))
        if _has_passed(work.request.deadline, work.started_at) and not _paid_by(work, paid):
            return _outgoing(work, not_answered(work, "expired", TOO_LATE, work.attempts, self._now()))
        source: Source = paid.source if leads else "shared_flight"
        return _outgoing(work, completed(work, paid.bought or paid.entry.stored(), source, self._now()))

    async def _fly(self, work: Work) -> tuple[Paid, bool]:
        """An answer that serves `work`, and whether it led the flight. Raises as `Payer.answer` does."""
        for number in range(len(request_keys_of(work))):
            trying = work._replace(key_number=number)
            try:
                paid, leads = await self._fly_under_key(trying)
                entry = served(work, paid.entry)
                while entry is not None and is_outdated(work, entry):
                    paid, leads = await self._fly_under_key(trying)
                    entry = served(work, paid.entry)
            except FleetOutcomeUnknown:
                continue
            if entry is not None:
                return Paid(entry, paid.source, bought=paid.bought if leads else None), leads
        raise AssertionError("what was paid under a request's own id serves it")

    async def _fly_under_key(self, work: Work) -> tuple[Paid, bool]:
        key: tuple[str, bool] = (request_key_of(work), work.request.cache.mode == "refresh")
        while True:
            deadline = work.request.deadline
            patience_seconds = None if deadline is None else (deadline - self._now()).total_seconds()
            try:
                paid, leads = await self._flights.fly(key, lambda: self._payer.answer(work), patience_seconds)
                return (paid, True) if leads else await self._followed(work, paid)
            except TimeoutError:
                raise NotAnswered(TOO_LATE, work.attempts, "expired") from None
            except Withdrawn:
                if self._guard.is_cancelled(work):
                    raise
                # The one that led was cancelled; the others still want an answer.
            except OverBudget as end:
                if end.refused.request_id == work.request.request_id:
                    raise
                if end.is_shared_by(work.request):
                    # Refused as well, most likely: each asks for itself, and all of them in one round trip.
                    key = (f"{key[0]} for {work.request.request_id}", key[1])
            except NotAnswered as end:
                if end.status != "expired" or _has_passed(deadline, self._now()):
                    raise

    async def _followed(self, work: Work, paid: Paid) -> tuple[Paid, bool]:
        """What another's flight brought, unless `work` has paid for an answer of its own before."""
        if not paid.former and not may_have_paid_before(work, paid.entry):
            return paid, False
        asked = await self._payer.answer(work)
        return (asked, True) if paid.former or _paid_by(work, asked) else (paid, False)

    def _dead_letter(self, record: Record, error: DecodeError, now: datetime) -> OutgoingRecord:
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        log.warning("dead_letter", reason=error.reason, **place)
        metrics.DEAD_LETTERS.labels(error.reason).inc()
        self._guard.saw_unreadable()
        return dead_letter_of(record, error, now)

    async def _finish(self, known: Known, release: Release) -> None:
        if not known:
            return
        await self._publisher.publish([outgoing for _, outgoing in known])
        self._failpoints.reach("after_publish")
        for record, _ in known:
            release(record)


def _outgoing(work: Work, result: PromptResult) -> OutgoingRecord:
    waited = result.timing.completed_at - result.timing.accepted_at
    _count(result.status, result.source or "none", [waited.total_seconds()])
    return encode_result(result, work.traceparent)


def _has_passed(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and deadline <= now


def _paid_by(work: Work, paid: Paid) -> bool:
    return paid.entry.paid_by == str(work.request.request_id)


def _hit_for(work: Work, keys: Keys, hits: Mapping[CacheKey, CacheHit]) -> CacheHit | None:
    """The hit that `work` may be served, with its own values in it: what it paid for itself, else the newest."""
    found = [hits[key] for key in keys if key in hits]
    if len(found) > 1:
        mine = str(work.request.request_id)
        found.sort(key=lambda hit: (hit.entry.paid_by == mine, hit.entry.asked_at_ms), reverse=True)
    for hit in found:
        if may_have_paid_before(work, hit.entry):
            return None
        if not is_outdated(work, hit.entry) and (entry := served(work, hit.entry)) is not None:
            return hit if entry is hit.entry else CacheHit(entry, hit.tier)
    return None


def _count(status: str, source: str, waited_seconds: Sequence[float]) -> None:
    metrics.RESULTS.labels(status, source).inc(len(waited_seconds))
    observe = metrics.REQUEST_SECONDS.labels(source).observe
    for seconds in waited_seconds:
        observe(max(seconds, 0))
