"""Reading the four books of a round: the broker's, the model's, Postgres', ClickHouse's."""

import hashlib
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import clickhouse_connect
import psycopg
from confluent_kafka import Consumer, TopicPartition

from ops.chaos.load import CANARY
from ops.chaos.verdict import RECORDED_AMBIGUOUS, Entry, ModelCall, Paid
from ops.local.lag import Partition
from schemas.codec import decode_result
from schemas.record import Record
from schemas.result import PromptResult
from schemas.topics import BULK_REQUESTS, DEAD_LETTERS, REQUESTS, RESULTS, RETRY
from streams.settings import Settings

_BROKER_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0
_CALLS_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_READ_RECORDS: Final = 1000

_POSTGRES: Final = """
    SELECT request_id, status, source, coalesce(input_tokens, 0), coalesce(output_tokens, 0), coalesce(cost_usd, 0),
           paid_by, answer
    FROM requests WHERE tenant = ANY(%s)
"""
_CLICKHOUSE: Final = """
    SELECT request_id, status, source, input_tokens, output_tokens, coalesce(cost_usd, 0), paid_by
    FROM results WHERE tenant IN {tenants:Array(String)}
"""
_AMBIGUOUS: Final = "SELECT key, count(*) FROM ledger_calls WHERE tenant = ANY(%s) AND state = ANY(%s) GROUP BY key"


@dataclass(frozen=True, slots=True)
class Bookmarks:
    """Where the topics ended before a round began."""

    kafka: str
    requests: tuple[Partition, ...]
    results: Mapping[Partition, int]
    retries: Mapping[Partition, int]
    dead_letters: int

    @classmethod
    def now(cls, kafka: str) -> "Bookmarks":
        dead_letters = sum(ends_of(kafka, DEAD_LETTERS).values())
        requests = (*ends_of(kafka, REQUESTS), *ends_of(kafka, BULK_REQUESTS))
        return cls(kafka, requests, ends_of(kafka, RESULTS), ends_of(kafka, RETRY), dead_letters)

    def dead_letters_since(self) -> int:
        return sum(ends_of(self.kafka, DEAD_LETTERS).values()) - self.dead_letters

    def results_since(self, tenants: Sequence[str]) -> list[Entry]:
        """Every copy of every result, with the time it was published at."""
        records = _read(self.kafka, self.results, ends_of(self.kafka, RESULTS))
        results = [(decode_result(record), record.timestamp_ms / 1000) for record in records]
        return [_entry(result, at) for result, at in results if result.tenant in tenants]

    def deferred_since(self) -> dict[UUID, float]:
        """Requests that were put on the retry topic, and when first."""
        first: dict[UUID, float] = {}
        for record in _read(self.kafka, self.retries, ends_of(self.kafka, RETRY)):
            one, at = UUID(json.loads(record.value or b"{}")["request_id"]), record.timestamp_ms / 1000
            first[one] = min(at, first.get(one, at))
        return first


def postgres_book(settings: Settings, tenants: Sequence[str]) -> list[Entry]:
    with psycopg.connect(settings.postgres.get_secret_value(), autocommit=True) as connection:
        rows = connection.execute(_POSTGRES, (list(tenants),)).fetchall()
    return [_row(row[:7], _digest(row[7])) for row in rows]


def clickhouse_book(settings: Settings, tenants: Sequence[str]) -> list[Entry]:
    """The ordinary query an analyst would write."""
    client = clickhouse_connect.get_client(dsn=settings.clickhouse.get_secret_value(), database="headrace")
    try:
        return [_row(row) for row in client.query(_CLICKHOUSE, parameters={"tenants": list(tenants)}).result_rows]
    finally:
        client.close()


def ambiguous_calls(settings: Settings, tenants: Sequence[str]) -> dict[str, int]:
    """By request key: calls the ledger recorded as sent without an answer that counted."""
    with psycopg.connect(settings.postgres.get_secret_value(), autocommit=True) as connection:
        return dict(connection.execute(_AMBIGUOUS, (list(tenants), sorted(RECORDED_AMBIGUOUS))).fetchall())


def model_book(model_url: str, request_ids: Iterable[UUID]) -> list[ModelCall]:
    """Calls charged to these requests, once none is under way any more."""
    end = time.monotonic() + _CALLS_SECONDS
    while json.loads(_get(f"{model_url}/_rehearsal/summary"))["in_flight"] and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    mine = {str(one) for one in request_ids}
    calls = [json.loads(line, parse_float=Decimal) for line in _get(f"{model_url}/_rehearsal/ledger").splitlines()]
    return [
        ModelCall(UUID(call["request_id"]), _paid(call["input_tokens"], call["output_tokens"], call["cost_usd"]))
        for call in calls
        if call["request_id"] in mine and call["output_tokens"]
    ]


def leaks_in(logs: Path) -> list[str]:
    """The logs that hold a prompt."""
    return [log.name for log in sorted(logs.glob("*.log*")) if CANARY.encode() in log.read_bytes()]


def _entry(result: PromptResult, at: float) -> Entry:
    usage = result.usage
    return Entry(
        result.request_id,
        result.status,
        result.source or "",
        _paid(usage.input_tokens, usage.output_tokens, result.cost_usd),
        result.paid_by,
        _digest(result.answer.text if result.answer else None),
        at,
    )


def _row(row: Sequence[Any], answer: str = "") -> Entry:
    request_id, status, source, input_tokens, output_tokens, cost_usd, paid_by = row
    return Entry(request_id, status, source or "", _paid(input_tokens, output_tokens, cost_usd), paid_by, answer)


def _paid(input_tokens: int, output_tokens: int, cost_usd: Decimal | float | None) -> Paid:
    return Paid(int(input_tokens), int(output_tokens), Decimal(cost_usd or 0))


def _digest(text: str | None) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
    return body


def ends_of(kafka: str, topic: str) -> dict[Partition, int]:
    reader = _reader(kafka)
    try:
        numbers = reader.list_topics(topic, timeout=_BROKER_SECONDS).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        return {(topic, each.partition): reader.get_watermark_offsets(each, _BROKER_SECONDS)[1] for each in places}
    finally:
        reader.close()


def _read(kafka: str, begins: Mapping[Partition, int], ends: Mapping[Partition, int]) -> list[Record]:
    """Every record between. Raises TimeoutError when the broker does not give them all in time."""
    left = {place: end for place, end in ends.items() if end > begins.get(place, 0)}
    reader, records, until = _reader(kafka), list[Record](), time.monotonic() + _READ_SECONDS
    try:
        reader.assign([TopicPartition(*place, begins.get(place, 0)) for place in left])
        while left:
            if time.monotonic() > until:
                raise TimeoutError(f"the broker did not give all results in {_READ_SECONDS:g} s")
            for message in reader.consume(_READ_RECORDS, 0.2):
                if message.error() is None:
                    record = _record(message)
                    records.append(record)
                    if record.offset >= left.get((record.topic, record.partition), 0) - 1:
                        left.pop((record.topic, record.partition), None)
    finally:
        reader.close()
    return records


def _reader(kafka: str) -> Consumer:
    options = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "log_level": 0}
    return Consumer({"bootstrap.servers": kafka, "group.id": "headrace-chaos-reader", **options})


def _record(message: Any) -> Record:
    headers = tuple(message.headers() or ())
    place = (message.topic(), message.partition(), message.offset())
    return Record(*place, message.key(), message.value(), headers, message.timestamp()[1])


def count_copies(entries: Iterable[Entry]) -> int:
    """Results beyond the first of each request."""
    return sum(count - 1 for count in Counter(each.request_id for each in entries).values())
