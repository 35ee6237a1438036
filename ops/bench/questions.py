"""What a bench asks: numbered requests of an exact size, put on the topic and, where wanted, answered in the cache."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

from confluent_kafka import Producer
from redis.asyncio import Redis

from producers.client_config import producer_config
from producers.uuid7 import uuid7
from schemas.codec import encode_request
from schemas.fingerprint import fingerprint_of
from schemas.record import OutgoingRecord
from schemas.request import Message, PromptRequest
from schemas.result import Answer, Usage
from schemas.topics import REQUESTS
from streams.cache.port import CacheKey, cache_key_of
from streams.cache.redis_cache import RedisCache
from streams.cache.stored_answer import CacheEntry, StoredAnswer

MODEL: Final = "claude-haiku-5-5"
_NUMBER_BITS: Final = 62
_CACHE_BATCH: Final = 500
_FLUSH_SECONDS: Final = 60.0


def a_request(number: int, prompt_bytes: int, question: int | None = None) -> PromptRequest:
    """Request `number`, asking `question` (its number again if None); other numbers ask something else."""
    asked = f"Question {number if question is None else question}: why is the link down? "
    text = (asked + "The counters of both ends are as follows. " * (prompt_bytes // 40)).ljust(prompt_bytes, ".")
    return PromptRequest(
        request_id=uuid7(random_bits=number),
        tenant="bench",
        department="noc",
        model=MODEL,
        max_tokens=64,
        messages=[Message(role="user", content=text[:prompt_bytes])],
    )


def number_of(request_id: bytes) -> int:
    """The number of the request with that id, as a result's key carries it."""
    return UUID(request_id.decode()).int & ((1 << _NUMBER_BITS) - 1)


def records_of(requests: Iterable[PromptRequest]) -> Iterator[OutgoingRecord]:
    return (encode_request(request, REQUESTS) for request in requests)


def producer_for(kafka: str) -> Producer:
    """A producer configured as every one of ours, with room for a whole round."""
    return Producer(producer_config(kafka, _FLUSH_SECONDS, {"queue.buffering.max.messages": 1_000_000}))


def send(producer: Producer, record: OutgoingRecord) -> None:
    producer.produce(record.topic, record.value, record.key, headers=list(record.headers))


def flush(producer: Producer) -> None:
    if producer.flush(_FLUSH_SECONDS):
        raise RuntimeError(f"the broker did not take every record in {_FLUSH_SECONDS:g} s; run: headrace doctor")


def publish(kafka: str, requests: Iterable[PromptRequest]) -> None:
    """Return when the broker has them all."""
    producer = producer_for(kafka)
    for record in records_of(requests):
        send(producer, record)
        producer.poll(0)
    flush(producer)


def fill_cache(redis_url: str, requests: Iterable[PromptRequest], answer_bytes: int) -> None:
    """Put an answer of that size for each request into the shared cache."""
    asyncio.run(_fill(redis_url, iter(requests), "The far end is down. ".ljust(answer_bytes, "x")))


async def _fill(redis_url: str, requests: Iterator[PromptRequest], text: str) -> None:
    async with Redis.from_url(redis_url) as client:
        cache = RedisCache(client, lambda: datetime.now(UTC))
        while batch := list(islice(requests, _CACHE_BATCH)):
            await cache.put_many({_key(request): _entry(text) for request in batch})


def _key(request: PromptRequest) -> CacheKey:
    return cache_key_of(request.tenant, fingerprint_of(request, MODEL))


def _entry(text: str) -> CacheEntry:
    now = datetime.now(UTC)
    return CacheEntry.of(
        StoredAnswer(
            answer=Answer(text=text, stop_reason="end_turn"),
            model=MODEL,
            usage=Usage(input_tokens=100, output_tokens=200),
            cost_usd=Decimal("0.0011"),
            paid_by=uuid7(),
            attempts=1,
            started_at=now,
            completed_at=now,
            model_ms=800,
            expires_at=now + timedelta(hours=1),
        )
    )
