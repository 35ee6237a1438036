"""The four books of a run: what was published, what the model charged, what either store holds."""

import json
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import clickhouse_connect
import psycopg
from confluent_kafka import Consumer, TopicPartition

from ops.bulk_run import BulkSummary
from producers.kafka_connection import KafkaAddress, client_options
from schemas.topics import DEAD_LETTERS
from streams.settings import Settings

_POLL_SECONDS: Final = 0.2
_BROKER_SECONDS: Final = 10.0

_POSTGRES_BOOK: Final = """
    SELECT count(*) FILTER (WHERE status <> 'pending'), coalesce(sum(cost_usd), 0), coalesce(sum(saved_usd), 0)
    FROM requests WHERE tenant = %s
"""
_CLICKHOUSE_BOOK: Final = """
    SELECT count(), coalesce(sum(cost_usd), 0), coalesce(sum(saved_usd), 0) FROM results WHERE tenant = {tenant:String}
"""


@dataclass(frozen=True, slots=True)
class StoreBook:
    """One store's view of a tenant: terminal results, dollars paid, dollars not paid."""

    rows: int
    cost_usd: Decimal
    saved_usd: Decimal


@dataclass(frozen=True, slots=True)
class ModelBook:
    """What the model's own ledger charged to these requests."""

    calls: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Books:
    """All of them, for one run; `model` is None when the model keeps no ledger we can read."""

    summary: BulkSummary
    unique_keys: int
    dead_letters: int
    model: ModelBook | None
    clickhouse: StoreBook
    postgres: StoreBook

    def disagreements(self) -> list[str]:
        """Which book disagrees and how; empty when all agree."""
        published, summary = self.summary.published, self.summary
        expected: list[tuple[str, object, object]] = [
            ("results on the topic", summary.results, published),
            ("failed results", summary.failed, 0),
            ("dead letters", self.dead_letters, 0),
            ("rows in ClickHouse", self.clickhouse.rows, published),
            ("rows in Postgres", self.postgres.rows, published),
            ("cost in ClickHouse", self.clickhouse.cost_usd, summary.cost_usd),
            ("cost in Postgres", self.postgres.cost_usd, summary.cost_usd),
            ("saved in ClickHouse", self.clickhouse.saved_usd, summary.saved_usd),
            ("saved in Postgres", self.postgres.saved_usd, summary.saved_usd),
        ]
        if self.model is not None:
            expected += [
                ("calls the model charged", self.model.calls, self.unique_keys),
                ("cost the model charged", self.model.cost_usd, summary.cost_usd),
            ]
        return [f"{what}: {found}, expected {wanted}" for what, found, wanted in expected if found != wanted]

    def as_json(self) -> dict[str, Any]:
        calls = self.model.calls if self.model else self.summary.results - self.summary.hits
        return {
            "published": self.summary.published,
            "results": self.summary.results,
            "failed": self.summary.failed,
            "dead_letters": self.dead_letters,
            "model_calls": calls,
            "unique_keys": self.unique_keys,
            "clickhouse_rows": self.clickhouse.rows,
            "postgres_rows": self.postgres.rows,
            "cost_usd": float(self.summary.cost_usd),
            "saved_usd": float(self.summary.saved_usd),
            "seconds": round(self.summary.seconds, 3),
        }


def store_books(settings: Settings, tenant: str, rows: int, patience_seconds: float) -> tuple[StoreBook, StoreBook]:
    """ClickHouse's and Postgres' books, once each holds `rows` or patience ends: sinks lag by a batch."""
    end = time.monotonic() + patience_seconds
    analysts = clickhouse_client(settings)
    with psycopg.connect(settings.postgres.get_secret_value(), autocommit=True) as lookups:
        while True:
            found = analysts.query(_CLICKHOUSE_BOOK, parameters={"tenant": tenant}).result_rows[0]
            row = lookups.execute(_POSTGRES_BOOK, (tenant,)).fetchone()
            books = StoreBook(*found), StoreBook(*(row or (0, Decimal(0), Decimal(0))))
            if all(book.rows >= rows for book in books) or time.monotonic() > end:
                return books
            time.sleep(_POLL_SECONDS)


def clickhouse_client(settings: Settings) -> Any:
    return clickhouse_connect.get_client(dsn=settings.clickhouse.get_secret_value(), database="headrace")


def model_book(model_url: str, request_ids: Sequence[str]) -> ModelBook:
    """What the rehearsal server charged to these requests. Raises OSError when it cannot be asked."""
    mine = set(request_ids)
    with urllib.request.urlopen(f"{model_url}/_rehearsal/ledger", timeout=30) as answer:  # noqa: S310 - loopback
        calls = [json.loads(line, parse_float=Decimal) for line in answer]
    charged = [Decimal(call["cost_usd"]) for call in calls if call["request_id"] in mine and call["cost_usd"]]
    return ModelBook(len(charged), sum(charged, Decimal(0)))


def dead_letter_count(kafka: KafkaAddress) -> int:
    """Records ever written to the dead-letter topic."""
    reader = Consumer({**client_options(kafka), "group.id": "headrace-demo-reader"})
    try:
        partitions = reader.list_topics(DEAD_LETTERS, timeout=_BROKER_SECONDS).topics[DEAD_LETTERS].partitions
        return sum(
            reader.get_watermark_offsets(TopicPartition(DEAD_LETTERS, number), timeout=_BROKER_SECONDS)[1]
            for number in partitions
        )
    finally:
        reader.close()
