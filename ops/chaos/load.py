"""The load of one round: requests at a steady rate whatever becomes of them, and the first book, what was accepted."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

from confluent_kafka import KafkaException, Producer

from producers.client_config import producer_config
from producers.uuid7 import uuid7
from schemas.codec import encode_request
from schemas.fingerprint import fingerprint_of
from schemas.record import Headers
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS, REQUESTS

CANARY: Final = "kanarie"
"""Every prompt holds it; no log may."""

_DELIVERY_SECONDS: Final = 150.0
_MODEL: Final = "claude-haiku-5-5"


@dataclass(frozen=True, slots=True)
class LoadShape:
    """How much is asked, how fast, and how much of it more than once."""

    requests: int = 400
    seconds: float = 8.0
    repeated: float = 0.4
    """Share of requests that ask an earlier one's question under an id of their own."""
    same_record: float = 0.03
    """Share of records that are published twice, byte for byte."""
    neighbour: float = 0.1
    """Share of requests of a second tenant, who asks the very same questions."""
    latency_seconds: float = 0.4
    """How long the model takes."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request the broker confirmed, where and when (unix time)."""

    request: PromptRequest
    topic: str
    partition: int
    offset: int
    at: float

    @property
    def id(self) -> UUID:
        return self.request.request_id

    @property
    def key(self) -> str:
        """Requests with one key share one paid call, as `streams.request_key` has it."""
        shared = f"{self.request.tenant}:{fingerprint_of(self.request, self.request.model or _MODEL)}"
        return f"{shared}:{self.id}" if self.request.cache.mode == "bypass" else shared


@dataclass(slots=True)
class Load:
    """One round's load. `ask` and `put` may add to it from the fault's side; `accepted` is the book."""

    kafka: str
    tenant: str
    shape: LoadShape
    seed: int
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why records were not accepted."""
    strangers: int = 0
    """Accepted records that are no requests: each must become a dead letter."""
    guests: list[str] = field(default_factory=list)
    """Tenants beside the two, whose requests came another way."""
    began_at: float = 0.0
    """Unix time of the first record."""

    _producer: Any = None
    _thread: threading.Thread | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _sent: int = 0

    @property
    def tenants(self) -> tuple[str, ...]:
        return self.tenant, f"{self.tenant}-neighbour", *self.guests

    def start(self) -> None:
        """Begin to publish, in a thread of its own."""
        self._producer = Producer(producer_config(self.kafka, _DELIVERY_SECONDS, {"log_level": 0}))
        self._producer.list_topics(timeout=10)
        self.began_at = time.time()
        self._thread = threading.Thread(target=self._publish_all, name="load", daemon=True)
        self._thread.start()

    def reached(self, share: float) -> bool:
        """Whether that share of the load was published."""
        return self._sent >= share * self.shape.requests or not self._is_running()

    def done(self) -> bool:
        """Whether everything was published and the broker has confirmed or refused each record."""
        if self._is_running():
            return False
        self._producer.poll(0)
        return len(self._producer) == 0

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def question(self, number: int, tenant: str | None = None) -> PromptRequest:
        """A request under a new id; equal numbers ask the same."""
        return PromptRequest.model_validate(
            {
                "request_id": uuid7(),
                "tenant": tenant or self.tenant,
                "department": "noc",
                "model": _MODEL,
                "max_tokens": 128,
                "messages": [{"role": "user", "content": f"{CANARY} {self.seed}-{number}: why is the link down?"}],
            }
        )

    def ask(self, requests: Iterable[PromptRequest], topic: str = REQUESTS, **options: Any) -> None:
        """Publish requests now; `options` are `Producer.produce`'s: key, partition, timestamp."""
        for request in requests:
            record = encode_request(request, topic)
            given = {"value": record.value, "key": record.key, "headers": list(record.headers), **options}
            self._produce(topic, request, given)

    def put(self, topic: str, value: bytes | None, key: bytes | None = None, headers: Headers = ()) -> None:
        """Publish something that is no request."""
        self._produce(topic, None, {"value": value, "key": key, "headers": list(headers)})

    def _produce(self, topic: str, request: PromptRequest | None, given: dict[str, Any]) -> None:
        def report(error: Any, message: Any) -> None:
            if error is not None:
                self.refused.append(error.str())
            elif request is None:
                self.strangers += 1
            else:
                place = (message.topic(), message.partition(), message.offset())
                self.accepted.append(Accepted(request, *place, time.time()))

        try:
            self._producer.produce(topic, on_delivery=report, **given)
        except (KafkaException, BufferError) as error:
            self.refused.append(str(error))

    def _publish_all(self) -> None:
        random, began = Random(self.seed), time.monotonic()  # noqa: S311 - repeatable on purpose
        for number in range(self.shape.requests):
            due = began + self.shape.seconds * number / self.shape.requests
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            self._publish_one(number, random)
            self._producer.poll(0)
        while len(self._producer) and not self._stopping.is_set():
            self._producer.poll(0.05)

    def _publish_one(self, number: int, random: Random) -> None:
        shape = self.shape
        asked = random.randrange(number) if number and random.random() < shape.repeated else number
        tenant = self.tenants[random.random() < shape.neighbour]
        request, topic = self.question(asked, tenant), random.choice((REQUESTS, BULK_REQUESTS))
        copies = 2 if random.random() < shape.same_record else 1
        self.ask([request] * copies, topic)
        self._sent = number + 1

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()
