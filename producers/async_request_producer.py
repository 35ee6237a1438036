"""`AsyncRequestProducer`: the same for asyncio, where every call waits for the broker's confirmation."""

from collections.abc import Iterable, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from producers.building import request_from
from producers.kafka_connection import KafkaAddress, KafkaConnection
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import Publisher, PublishError, Refusal
from producers.request_producer import MOST_REFUSALS, PROGRESS_EVERY, Progress, request_record
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest
from schemas.topics import Lane


class AsyncRequestProducer:
    """`submit` returns when the request is in Kafka; use it from one event loop.

    Give the broker's address, or a Publisher that lives longer than this producer.
    """

    def __init__(
        self,
        kafka: KafkaAddress | Publisher,
        *,
        lane: Lane = "interactive",
        delivery_timeout_seconds: float = 120.0,
        **options: Any,
    ) -> None:
        self._lane: Lane = lane
        self._own: KafkaPublisher | None = None
        if isinstance(kafka, str | KafkaConnection):
            self._own = KafkaPublisher(kafka, delivery_timeout_seconds=delivery_timeout_seconds, **options)
            self._publisher: Publisher = self._own
        else:
            self._publisher = kafka

    async def submit(
        self,
        request: PromptRequest | None = None,
        *,
        lane: Lane | None = None,
        traceparent: str | None = None,
        **fields: Any,
    ) -> UUID:
        """Publish one request, given whole or as its fields; its id. Raises PublishError, InvalidRequestError."""
        built = request if request is not None else request_from(fields)
        await self._publisher.publish([request_record(built, lane or self._lane, traceparent)])
        return built.request_id

    async def submit_many(
        self,
        requests: Iterable[PromptRequest | Mapping[str, Any]],
        *,
        lane: Lane | None = None,
        on_progress: Progress | None = None,
    ) -> list[UUID]:
        """Publish all; their ids, in order. The iterable is taken a few hundred at a time, each lot confirmed.

        Raises PublishError when all have been tried, InvalidRequestError at the first that is none.
        """
        ids: list[UUID] = []
        refusals: list[Refusal] = []
        source = iter(requests)
        while lot := [_built(given) for given in islice(source, PROGRESS_EVERY)]:
            refusals += await self._refused_of([request_record(request, lane or self._lane) for request in lot])
            ids += (request.request_id for request in lot)
            if on_progress is not None:
                on_progress(len(ids))
            if len(refusals) >= MOST_REFUSALS:
                break
        if refusals:
            raise PublishError(refusals, len(ids))
        return ids

    async def close(self) -> None:
        """Wait for what is under way, then let go of the connection if it is our own. Safe to repeat."""
        if self._own is not None:
            await self._own.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _refused_of(self, records: list[OutgoingRecord]) -> tuple[Refusal, ...]:
        try:
            await self._publisher.publish(records)
        except PublishError as error:
            return error.refusals
        return ()


def _built(given: PromptRequest | Mapping[str, Any]) -> PromptRequest:
    return given if isinstance(given, PromptRequest) else request_from(given)
