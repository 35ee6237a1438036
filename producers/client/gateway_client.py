"""`GatewayClient`: the gateway from ordinary code."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx2

from producers.client.calls import Call, Outcome, labelled, pairs_of
from producers.client.documents import BulkResult, Submitted
from producers.client.http import Timeouts, answer_in, lost_by, options_of, sent
from producers.client.patience import Patience
from producers.client.reading import Comeback, JobResults, Reading, ResultEvents
from producers.client.result_streams import ResultStream
from producers.client.talk import Page, Pause, Steps, Talk, VerdictFilter
from producers.client.uploads import OnProgress, Source, upload_of
from producers.gateway.bulk_documents import JobReceipt, JobStatus, Verdict
from producers.gateway.documents import RequestStatus
from producers.gateway.lookup import LiveStatus
from schemas.request import PromptRequest
from schemas.result import Status
from schemas.topics import Lane

T = TypeVar("T")


class GatewayClient:
    """Safe between threads. Every method raises GatewayError, of the kind that `producers.client` names.

    `url` may carry the key as its password, as the local stack's does. Whatever is sent again carries the same
    Idempotency-Key, so that nothing is asked twice. `options` are httpx2's own: `verify`, `proxy`, `limits`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        **options: Any,
    ) -> None:
        self._http = httpx2.Client(**options_of(url, key, options))
        self._timeouts = timeouts
        self._talk = Talk(patience)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    def submit(
        self,
        request: PromptRequest | None = None,
        *,
        lane: Lane | None = None,
        wait_seconds: float = 0.0,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Submitted:
        """Return when the broker has the request, given whole or as its fields, or when it ends within `wait_seconds`.

        The tenant is the key's. Without an `idempotency_key` one is made for this call and its repetitions.
        """
        return self._run(self._talk.submit(request or fields, lane, wait_seconds, idempotency_key))

    def status(self, request_id: UUID) -> RequestStatus:
        """How it stands now."""
        return self._run(self._talk.status(request_id))

    def wait(self, request_id: UUID, *, timeout_seconds: float) -> RequestStatus:
        """How it ended. Raises WaitTimeoutError where it has not; it goes on then."""
        return self._run(self._talk.wait(request_id, timeout_seconds))

    def cancel(self, request_id: UUID) -> None:
        """Return when the cancellation is published: the request ends once, cancelled or not."""
        self._run(self._talk.cancel(request_id))

    def list_requests(
        self,
        *,
        user: str | None = None,
        department: str | None = None,
        device: str | None = None,
        status: LiveStatus | None = None,
        since: datetime | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[RequestStatus]:
        """The tenant's requests, the newest first, a page at a time as they are taken."""
        named = {"user": user, "department": department, "device": device, "status": status, "since": since}
        query = (*pairs_of(named), *labelled(labels))
        return self._all(lambda cursor: self._talk.page(query, cursor))

    def stream(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        user: str | None = None,
        department: str | None = None,
        template: str | None = None,
        status: Status | None = None,
        last_event_id: str | None = None,
    ) -> ResultStream:
        """The tenant's results as they come, from now on or from behind an event. Enter it before you submit."""
        named = {"user": user, "department": department, "template": template, "status": status}
        events = ResultEvents((*pairs_of(named), *labelled(labels)), self._comeback(), last_event_id)
        return ResultStream(events, self._read(events))

    def bulk(
        self,
        source: Source,
        *,
        idempotency_key: str | None = None,
        media_type: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> JobReceipt:
        """Return when the broker has every item that is a request; `source` is a file (a Path) or requests.

        Under a key of your own, the same content goes on where it was cut, in another process as well.
        """
        with upload_of(source, media_type, on_progress) as upload:
            return self._run(self._talk.upload(upload, idempotency_key))

    def bulk_status(self, job: UUID) -> JobStatus:
        """How far a bulk job is."""
        return self._run(self._talk.job(job))

    def bulk_wait(
        self, job: UUID, *, timeout_seconds: float, on_status: Callable[[JobStatus], None] | None = None
    ) -> JobStatus:
        """The job once every accepted item has ended; `on_status` is told each look. Raises WaitTimeoutError."""
        return self._run(self._talk.wait_for_job(job, timeout_seconds, on_status))

    def bulk_cancel(self, job: UUID) -> JobStatus:
        """It takes no more items; those without a result end as cancelled."""
        return self._run(self._talk.cancel_job(job))

    def bulk_verdicts(self, job: UUID, *, status: VerdictFilter = "all") -> Iterator[Verdict]:
        """Of each item of a job: the id it got, or why it was refused."""
        return self._all(lambda after: self._talk.verdicts(job, status, after))

    def bulk_results(self, job: UUID) -> Iterator[BulkResult]:
        """The items of a job that have ended, downloaded as they are taken."""
        for results in self._read(JobResults(job, self._comeback())):
            yield from results

    def close(self) -> None:
        """Let go of the connections; safe to repeat."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _comeback(self) -> Comeback:
        return Comeback(self._talk.patience, self._talk.dice, self._talk.ticks)

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                value: T = end.value
                return value
            outcome = self._carried_out(step)

    def _carried_out(self, step: Call | Pause) -> Outcome | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        content = step.body if isinstance(step.body, bytes | None) else step.body.pieces()
        try:
            return answer_in(self._http.request(**sent(step, self._timeouts, content)))
        except httpx2.RequestError as error:
            return lost_by(error)

    def _all(self, page_at: Callable[[str | None], Steps[Page[T]]]) -> Iterator[T]:
        found, following = self._run(page_at(None))
        yield from found
        while following is not None:
            found, following = self._run(page_at(following))
            yield from found

    def _read(self, reading: Reading[T]) -> Generator[list[T], None, None]:
        while not reading.is_over:
            outcome: Outcome | None = None
            try:
                with self._http.stream(**sent(reading.call(), self._timeouts, None)) as response:
                    if response.status_code == httpx2.codes.OK:
                        for piece in response.iter_bytes():
                            yield reading.take(piece)
                    else:
                        response.read()
                        outcome = answer_in(response)
            except httpx2.RequestError as error:
                outcome = lost_by(error)
            time.sleep(reading.ended(outcome))
