"""A stand-in for the worker: answers every request of one lane at once, so that producers' ends can be tested."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

from confluent_kafka import Consumer, Producer

from schemas.codec import decode_request, encode_result
from schemas.record import Record
from schemas.request import PromptRequest
from schemas.result import Answer, PromptResult, Timing
from tests.kafka_reading import end_offsets


@contextmanager
def answering(bootstrap: str, topic: str, at_most: int | None = None) -> Iterator[list[PromptRequest]]:
    """The requests it has taken since the block began; it answers only the first `at_most`."""
    taken: list[PromptRequest] = []
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test-answering", "enable.auto.commit": False})
    consumer.assign(end_offsets(bootstrap, topic))
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            request = decode_request(Record(topic, 0, 0, None, message.value(), (), 1))
            taken.append(request)
            if at_most is None or len(taken) <= at_most:
                record = encode_result(answer_to(request))
                producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
                producer.poll(0)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stopping.set()
        thread.join(10)
        producer.flush(10)
        consumer.close()


def answer_to(request: PromptRequest) -> PromptResult:
    """Every answer cost a cent but the one labelled `known`, which came from the cache."""
    now = datetime.now(UTC)
    known = "known" in request.labels
    return PromptResult(
        **request.dimensions(),
        status="failed" if "failing" in request.labels else "completed",
        answer=None if "failing" in request.labels else Answer(text="the answer", stop_reason="end_turn"),
        source="shared_cache" if known else "model",
        model="claude-haiku-5-5",
        cost_usd=Decimal(0) if known else Decimal("0.01"),
        saved_usd=Decimal("0.01") if known else Decimal(0),
        timing=Timing(accepted_at=now, started_at=now, completed_at=now),
    )
