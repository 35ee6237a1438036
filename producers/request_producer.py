"""`RequestProducer`: requests into Kafka from ordinary code. It reads no environment; addresses are arguments."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Producer

from producers.building import request_from
from producers.client_config import producer_config
from producers.kafka_access import LastRefusal, explained
from producers.kafka_connection import KafkaAddress
from producers.publisher import PublisherClosedError, PublishError, Refusal
from schemas.codec import encode_request
from schemas.framing import Frame
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest
from schemas.topics import REQUEST_TOPIC_OF_LANE, Lane
from schemas.trace import new_traceparent

Progress = Callable[[int], None]
"""Told how many requests of the call have been handed over so far."""

PROGRESS_EVERY: Final = 500
MOST_REFUSALS: Final = 1000
"""Refused records that are kept for one error; with more the broker is the problem, and publishing stops."""


def request_record(request: PromptRequest, lane: Lane, traceparent: str | None = None) -> OutgoingRecord:
    """The record of `request` on its lane's topic, with a new trace unless one is given."""
    return encode_request(request, REQUEST_TOPIC_OF_LANE[lane], traceparent or new_traceparent())


class RequestProducer:
    """Publishes in the background; what the broker refused is raised by `flush` and `close`. Safe between threads.

    `lane` is where requests go unless a call says otherwise; `frame` marks them for a schema registry
    (`producers.schema_registry.registered_framing`); `options` are librdkafka's own names.
    """

    def __init__(
        self,
        kafka: KafkaAddress,
        *,
        lane: Lane = "interactive",
        delivery_timeout_seconds: float = 120.0,
        frame: Frame | None = None,
        **options: Any,
    ) -> None:
        self._lane: Lane = lane
        self._frame = frame
        self._delivery_timeout_seconds = delivery_timeout_seconds
        self._last_refusal = LastRefusal()
        options = {"error_cb": self._last_refusal, **options}
        self._producer = Producer(producer_config(kafka, delivery_timeout_seconds, options))
        self._refusals: list[Refusal] = []
        self._handed_over = 0
        self._closed = False

    def submit(
        self,
        request: PromptRequest | None = None,
        *,
        lane: Lane | None = None,
        traceparent: str | None = None,
        wait: bool = False,
        **fields: Any,
    ) -> UUID:
        """Hand over one request, given whole or as its fields; its id. With `wait`, return when it is confirmed.

        Raises InvalidRequestError for fields that make no request, and with `wait` PublishError.
        """
        record_of = request if request is not None else request_from(fields)
        self._hand_over(request_record(record_of, lane or self._lane, traceparent))
        if wait:
            self.flush()
        return record_of.request_id

    def submit_many(
        self,
        requests: Iterable[PromptRequest | Mapping[str, Any]],
        *,
        lane: Lane | None = None,
        on_progress: Progress | None = None,
    ) -> list[UUID]:
        """Publish all and wait until they are confirmed; their ids, in order.

        The iterable is taken no faster than the broker confirms, so it may be larger than memory.
        Raises PublishError when all have been tried, InvalidRequestError at the first that is none.
        """
        ids: list[UUID] = []
        for given in requests:
            request = given if isinstance(given, PromptRequest) else request_from(given)
            self._hand_over(request_record(request, lane or self._lane))
            ids.append(request.request_id)
            if on_progress is not None and len(ids) % PROGRESS_EVERY == 0:
                on_progress(len(ids))
        self.flush()
        if on_progress is not None:
            on_progress(len(ids))
        return ids

    def flush(self, timeout_seconds: float | None = None) -> None:
        """Wait for everything handed over. Raises PublishError, or TimeoutError when that takes longer."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        # In short waits, so that Ctrl-C is seen.
        while left := self._producer.flush(0.5):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{left} requests are not confirmed after {timeout_seconds} s; call `flush` again")
        refusals, self._refusals = self._refusals, []
        attempted, self._handed_over = self._handed_over, 0
        if refusals:
            raise PublishError(refusals, attempted)

    def close(self) -> None:
        """Flush, then refuse whatever comes. Raises PublishError; safe to repeat."""
        if not self._closed:
            self._closed = True
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _hand_over(self, record: OutgoingRecord) -> None:
        if self._closed:
            raise PublisherClosedError
        if self._frame is not None:
            record = self._frame(record)
        if len(self._refusals) >= MOST_REFUSALS:
            self.flush()
        self._handed_over += 1
        try:
            while not self._offer(record):
                self._producer.poll(0.1)  # frees room: a report is taken, at the latest when a record times out
        except KafkaException as error:
            self._refusals.append(Refusal(record, explained(error.args[0])))
        self._producer.poll(0)

    def _offer(self, record: OutgoingRecord) -> bool:
        report = partial(self._report, record)
        try:
            self._producer.produce(
                record.topic, record.value, record.key, on_delivery=report, headers=list(record.headers)
            )
        except BufferError:
            return False
        return True

    def _report(self, record: OutgoingRecord, error: KafkaError | None, message: object) -> None:
        del message
        if error is not None:
            self._refusals.append(Refusal(record, self._last_refusal.reason_of(error)))
