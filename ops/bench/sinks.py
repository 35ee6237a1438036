"""`headrace bench sinks`: from the topic into each store, against the store's own fastest insert of the same rows.

On servers of its own, so that no made-up result reaches a stack that runs here. The raw insert gets its rows ready
made; the sink reads, decodes, makes rows, writes and commits. Rounds are interleaved, the first of both is not counted
and of the others the median ratio is.
"""

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

from ops.bench.report import Bar, Report
from ops.local.testing import Endpoints, local_servers
from ops.migrations.apply import migrate_clickhouse, migrate_postgres
from ops.topics import apply_topics
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.identity import Fingerprint
from schemas.record import Record
from schemas.result import Answer, PromptResult, Timing, Usage
from schemas.topics import RESULTS
from streams.settings import Settings
from streams.sink_wiring import StoreName, batch_policy, dead_letters_to, ease_the_interpreter
from streams.sinks.kafka_source import GroupSettings, KafkaSource
from streams.sinks.port import ResultStore
from streams.sinks.result_fields import fields_of, turned
from streams.sinks.sink import Sink, SinkIdentity

TARGETS: Final[dict[StoreName, float]] = {"clickhouse": 0.5, "postgres": 0.4}
ROWS: Final[dict[StoreName, int]] = {"clickhouse": 100_000, "postgres": 50_000}
_ROUND_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Yard:
    """One store under test: how to empty it, count it, fill it raw, and write it as the sink does."""

    name: StoreName
    empty: Callable[[], object]
    count: Callable[[], int]
    insert_raw: Callable[[], object]
    store: ResultStore


@dataclass(frozen=True, slots=True)
class Pace:
    rows_per_second: float
    cpu_seconds_per_1000: float


def run(rounds: int = 3) -> Report:
    """Start servers, fill the topic once, then let both ways take turns."""
    ease_the_interpreter()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home:
        # The account of PostgreSQL must be able to enter.
        Path(home).chmod(0o755)
        with local_servers(Path(home), {"kafka", "postgres", "clickhouse"}) as endpoints:
            return _measured(endpoints, rounds)


def _measured(endpoints: Endpoints, rounds: int) -> Report:
    kafka, postgres, clickhouse = endpoints.kafka, endpoints.postgres, endpoints.clickhouse
    if not (kafka and postgres and clickhouse):
        raise RuntimeError("the servers did not start; run: headrace doctor")
    migrate_postgres(postgres, datetime.now(UTC))
    migrate_clickhouse(clickhouse)
    apply_topics(kafka)
    results = [a_result(number) for number in range(max(ROWS.values()))]
    _publish(kafka, results)
    table = []
    for yard in (clickhouse_yard(clickhouse, results), postgres_yard(postgres, results)):
        _round(kafka, yard, 0)  # the first use of anything is slow: for both alike, and not counted
        table += [_round(kafka, yard, number) for number in range(1, rounds + 1)]
    return Report(
        "sinks",
        [_bar(table, name) for name in TARGETS],
        table,
        ["Rehearsed results, servers of its own. Raw: ready-made rows, `client.insert(table, rows)` and binary COPY."],
    )


def _round(kafka: str, yard: Yard, number: int) -> dict[str, Any]:
    rows = ROWS[yard.name]
    yard.empty()
    raw = _raw_pace(yard, rows)
    yard.empty()
    sink = _sink_pace(kafka, yard, rows, f"bench-{yard.name}-{number}")
    return {
        "store": yard.name,
        "round": number,
        "rows": rows,
        "raw_rows_per_second": round(raw.rows_per_second),
        "sink_rows_per_second": round(sink.rows_per_second),
        "ratio": round(sink.rows_per_second / raw.rows_per_second, 3),
        "sink_cpu_seconds_per_1000": round(sink.cpu_seconds_per_1000, 4),
    }


def _bar(table: list[dict[str, Any]], name: StoreName) -> Bar:
    ratio = median(row["ratio"] for row in table if row["store"] == name)
    return Bar(f"sink {name} against its raw insert", ratio, TARGETS[name])


def _raw_pace(yard: Yard, rows: int) -> Pace:
    started, cpu = time.perf_counter(), time.process_time()
    yard.insert_raw()
    return Pace(rows / (time.perf_counter() - started), (time.process_time() - cpu) / rows * 1000)


def _sink_pace(kafka: str, yard: Yard, rows: int, group: str) -> Pace:
    """From the first read that brings records to the commit behind the last row."""
    source = MeasuredSource(KafkaSource(GroupSettings(kafka, group, (RESULTS,))))
    identity = SinkIdentity(yard.name, batch_policy(yard.name, Settings()))
    sink = Sink(identity, source, yard.store, dead_letters_to(kafka), time.monotonic)
    source.inner.subscribe(sink.on_revoked)
    deadline = time.monotonic() + _ROUND_SECONDS
    while source.read_records < rows:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the {yard.name} sink read {source.read_records} of {rows} rows; run: headrace doctor")
        source.left = rows - source.read_records
        sink.step()
    sink.leave()  # as any sink at its end: a last, small batch need not wait for its age
    if source.committed < rows:
        raise RuntimeError(f"the {yard.name} sink wrote {source.committed} of {rows} rows; run: headrace doctor")
    wall, cpu = time.perf_counter() - source.started, time.process_time() - source.cpu_started
    source.inner.close()
    if yard.count() != rows:
        raise RuntimeError(f"{yard.name} holds {yard.count()} rows instead of {rows}")
    return Pace(rows / wall, cpu / rows * 1000)


class MeasuredSource:
    """A source that stops after so many records and notes when the first came."""

    def __init__(self, inner: KafkaSource) -> None:
        self.inner = inner
        self.left = self.read_records = self.committed = 0
        self.started = self.cpu_started = 0.0
        self._taken: dict[tuple[str, int], int] = {}

    def read(self, at_most: int, timeout_seconds: float) -> Any:
        started, cpu = time.perf_counter(), time.process_time()
        records = self.inner.read(min(at_most, self.left), timeout_seconds)
        if records and not self.read_records:
            self.started, self.cpu_started = started, cpu
        self.read_records += len(records)
        return records

    def commit(self, next_offsets: Any) -> bool:
        done = self.inner.commit(next_offsets)
        self._taken |= next_offsets if done else {}
        self.committed = sum(self._taken.values())
        return done

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()


def clickhouse_yard(url: str, results: list[PromptResult]) -> Yard:
    from streams.sinks.clickhouse_rows import FIELD_OF
    from streams.sinks.clickhouse_store import ClickHouseStore, clickhouse_client

    client, size = clickhouse_client(url), Settings().sink_batch_rows
    names = [name for name in FIELD_OF if name != "answer"]  # kept only where that is switched on
    found = [fields_of(result)._asdict() for result in results[: ROWS["clickhouse"]]]
    rows = [[_as_the_client_likes(fields[FIELD_OF[name]]) for name in names] for fields in found]
    batches = [rows[at : at + size] for at in range(0, len(rows), size)]

    def insert_raw() -> None:
        for batch in batches:  # as the client's documentation inserts rows
            client.insert("llm_results", batch, column_names=names, settings={"async_insert": 0})

    return Yard(
        "clickhouse",
        lambda: client.command("TRUNCATE TABLE llm_results"),
        lambda: int(client.query("SELECT count() FROM results").first_row[0]),
        insert_raw,
        ClickHouseStore(url),
    )


def _as_the_client_likes(value: Any) -> Any:
    """Ids as numbers and no null text: what the client writes fastest."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return "" if value is None else value


def postgres_yard(dsn: str, results: list[PromptResult]) -> Yard:
    import orjson
    import psycopg
    from psycopg.types.json import set_json_dumps

    from streams.sinks.postgres_rows import COLUMNS, readable, result_rows
    from streams.sinks.postgres_store import PostgresStore

    connection = psycopg.connect(dsn, autocommit=True)
    set_json_dumps(orjson.dumps, connection)  # ten times as fast as the default
    wanted = results[: ROWS["postgres"]]
    columns = turned([fields_of(result) for result in wanted])
    rows = list(map(readable, result_rows([_as_read(result) for result in wanted], columns)))
    copy_rows = f"COPY requests ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"

    def insert_raw() -> None:
        with connection.cursor() as cursor, cursor.copy(copy_rows.encode()) as copy:
            copy.set_types(list(COLUMNS.values()))
            for row in rows:
                copy.write_row(row)

    def count() -> int:
        found = connection.execute("SELECT count(*) FROM requests").fetchone()
        return 0 if found is None else int(found[0])

    return Yard("postgres", lambda: connection.execute("TRUNCATE requests"), count, insert_raw, PostgresStore(dsn))


def _as_read(result: PromptResult) -> Record:
    topic, key, value, headers = encode_result(result)
    return Record(topic, 0, 0, key, value, headers, 0)


def a_result(number: int) -> PromptResult:
    """A plausible result, about 1.6 kB as JSON; the same number gives the same but for its id."""
    draw = random.Random(number)  # noqa: S311 - made-up rows
    accepted = datetime(2026, 11, 2, 9, tzinfo=UTC) + timedelta(milliseconds=number * 7)
    paid = draw.random() < 0.4  # noqa: PLR2004 - the share of misses in the demo's fleet
    request_id: UUID = uuid7(int(accepted.timestamp() * 1000))
    return PromptResult(
        request_id=request_id,
        tenant="meridian",
        department=draw.choice(["noc", "core", "edge", "wan", "lab"]),
        user_id=f"user-{number % 200}",
        application="fleet",
        labels={"device_name": f"dev-{number % 300}", "site": f"site-{number % 40}"},
        template="network-config@1",
        status="completed",
        answer=Answer(text="interface Ethernet1\n ip address 10.0.0.1/24\n no shutdown\n" * 14, stop_reason="end_turn"),
        source="model" if paid else "shared_cache",
        model="claude-haiku-5-5",
        usage=Usage(input_tokens=300 + number % 97, output_tokens=400 + number % 211) if paid else Usage(),
        cost_usd=Decimal("0.000286") if paid else Decimal(0),
        saved_usd=Decimal(0) if paid else Decimal("0.000286"),
        attempts=int(paid),
        timing=Timing(
            accepted_at=accepted,
            started_at=accepted + timedelta(milliseconds=3),
            completed_at=accepted + timedelta(milliseconds=800),
            queue_ms=3,
            model_ms=797 if paid else 0,
        ),
        paid_by=request_id,
        fingerprint=Fingerprint(f"{number % 4000:064x}"),
    )


def _publish(kafka: str, results: list[PromptResult]) -> None:
    from confluent_kafka import Producer

    from producers.client_config import producer_config

    producer = Producer(producer_config(kafka, 60, {"queue.buffering.max.messages": len(results) + 1}))
    for result in results:
        record = encode_result(result)
        producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
        producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("the broker did not take every record in 60 s; run: headrace doctor")
