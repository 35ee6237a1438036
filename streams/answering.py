"""The order that keeps the invariants, on one screen.

decode -> admit -> cache -> (single flight: model -> remember) -> publish, confirmed by the broker -> release.
A record is released only after its result, or its dead letter, is on the broker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from producers.publisher import Publisher
from schemas.codec import decode_request, encode_result
from schemas.dead_letter import DecodeError, dead_letter_of
from schemas.record import OutgoingRecord, Record
from schemas.request import CachePolicy
from schemas.result import Answer, ErrorDetail, PromptResult, Source
from streams import metrics
from streams.admission import Admission, Refusal, Work
from streams.cache.port import CacheKey, cache_key_of
from streams.cache.stored_answer import CacheEntry, StoredAnswer
from streams.cache.tiers import CacheHit, TieredCache
from streams.flights import SingleFlight
from streams.logs import logger_named
from streams.model.caller import CallFailed, ModelCaller, PaidReply
from streams.model.prompting import prompt_of
from streams.results import completed, from_entry, not_answered
from streams.runner import Release

log = logger_named("answering")

Lifetime = Callable[[CachePolicy], timedelta]
"""How long an answer under that policy stays fresh."""


class Answering:
    """Answers batches of records. Raises on a bug, or when the broker confirms nothing: then nothing is released."""

    def __init__(
        self,
        admission: Admission,
        cache: TieredCache,
        caller: ModelCaller,
        publisher: Publisher,
        lifetime: Lifetime,
        now: Callable[[], datetime],
    ) -> None:
        self._admission = admission
        self._cache = cache
        self._caller = caller
        self._publisher = publisher
        self._lifetime = lifetime
        self._now = now
        self._flights: SingleFlight[CacheKey, StoredAnswer] = SingleFlight()

    async def answer(self, records: Sequence[Record], release: Release) -> None:
        """Answer each record and release it; what is known goes out in one batch, before what must be asked."""
        known: list[tuple[Record, OutgoingRecord]] = []
        works = self._take_in(records, known)
        hits = await self._cache.find_many([_key(work) for work in works if work.request.cache.mode == "use"])
        misses = self._answer_hits(works, hits, known) if hits else works
        await asyncio.gather(self._finish(known, release), *(self._answer_miss(work, release) for work in misses))

    def _answer_hits(
        self, works: Sequence[Work], hits: Mapping[CacheKey, CacheHit], known: list[tuple[Record, OutgoingRecord]]
    ) -> list[Work]:
        """Add the results of hits to `known`; the works that are left."""
        misses: list[Work] = []
        seconds: dict[Source, list[float]] = defaultdict(list)
        now = self._now()
        for work in works:
            hit = hits.get(_key(work)) if work.request.cache.mode == "use" else None
            if hit is None:
                misses.append(work)
            else:
                known.append((work.record, from_entry(work, hit.entry, hit.tier, now)))
                seconds[hit.tier].append((now - work.request.accepted_at).total_seconds())
        for source, waited in seconds.items():
            _count("completed", source, waited)
        return misses

    def _take_in(self, records: Sequence[Record], known: list[tuple[Record, OutgoingRecord]]) -> list[Work]:
        """Decode and admit; what ends here is added to `known`."""
        works: list[Work] = []
        now = self._now()
        metrics.RECORDS.labels(records[0].topic).inc(len(records))
        for record in records:
            try:
                request = decode_request(record)
            except DecodeError as error:
                log.warning(
                    "dead_letter",
                    reason=error.reason,
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                )
                metrics.DEAD_LETTERS.labels(error.reason).inc()
                known.append((record, dead_letter_of(record, error, now)))
                continue
            admitted = self._admission.admit(record, request, now)
            if isinstance(admitted, Refusal):
                refused = not_answered(admitted.work, admitted.status, admitted.error, 0, now)
                known.append((record, self._outgoing(admitted.work, refused)))
            else:
                works.append(admitted)
        return works

    async def _answer_miss(self, work: Work, release: Release) -> None:
        try:
            if work.request.cache.mode == "bypass":
                stored, leads = await self._ask(work), True
            else:
                stored, leads = await self._flights.fly(_key(work), lambda: self._ask_and_remember(work))
            result = completed(work, stored, "model" if leads else "shared_flight", self._now())
        except CallFailed as failure:
            result = self._failed(work, failure)
        await self._finish([(work.record, self._outgoing(work, result))], release)

    async def _ask_and_remember(self, work: Work) -> StoredAnswer:
        stored = await self._ask(work)
        await self._cache.remember({_key(work): CacheEntry.of(stored)})
        return stored

    async def _ask(self, work: Work) -> StoredAnswer:
        started_at = self._now()
        paid = await self._caller.call(prompt_of(work.request, work.model), work.deadline)
        return _stored(work, paid, started_at, self._lifetime(work.request.cache))

    def _failed(self, work: Work, failure: CallFailed) -> PromptResult:
        error = failure.error
        log.warning(
            "request_failed", request_id=str(work.request.request_id), code=error.code, attempts=failure.attempts
        )
        late = work.request.deadline is not None and self._now() >= work.request.deadline
        detail = ErrorDetail(code=error.code, message=error.message)
        return not_answered(work, "expired" if late else "failed", detail, failure.attempts, self._now())

    @staticmethod
    def _outgoing(work: Work, result: PromptResult) -> OutgoingRecord:
        waited = result.timing.completed_at - result.timing.accepted_at
        _count(result.status, result.source or "none", [waited.total_seconds()])
        return encode_result(result, work.traceparent)

    async def _finish(self, known: Sequence[tuple[Record, OutgoingRecord]], release: Release) -> None:
        if not known:
            return
        await self._publisher.publish([outgoing for _, outgoing in known])
        for record, _ in known:
            release(record)


def _key(work: Work) -> CacheKey:
    return cache_key_of(work.request.tenant, work.fingerprint)


def _count(status: str, source: str, waited_seconds: Sequence[float]) -> None:
    metrics.RESULTS.labels(status, source).inc(len(waited_seconds))
    observe = metrics.REQUEST_SECONDS.labels(source).observe
    for seconds in waited_seconds:
        observe(max(seconds, 0))


def _stored(work: Work, paid: PaidReply, started_at: datetime, lifetime: timedelta) -> StoredAnswer:
    reply = paid.reply
    return StoredAnswer(
        answer=Answer(text=reply.text, stop_reason=reply.stop_reason),
        model=reply.model,
        usage=reply.usage,
        cost_usd=paid.cost_usd,
        paid_by=work.request.request_id,
        attempts=paid.attempts,
        started_at=started_at,
        completed_at=paid.completed_at,
        model_ms=reply.model_ms,
        expires_at=paid.completed_at + lifetime,
    )
