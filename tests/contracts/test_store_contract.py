"""What every store promises a sink: each request once, whatever comes again and in whatever order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from ops.migrations.apply import migrate_clickhouse, migrate_postgres
from producers.uuid7 import uuid7
from schemas.result import PromptResult
from streams.sinks.clickhouse_store import ClickHouseStore, clickhouse_client
from streams.sinks.memory_store import MemoryStore
from streams.sinks.port import BadRow, Batch, ResultStore, StoreUnavailable
from streams.sinks.postgres_store import PostgresStore
from streams.sinks.reading import read
from tests.sinks import a_batch, a_result, as_record, encoded
from tests.unit.events import a_request


@dataclass(frozen=True)
class Shelf:
    """A store and how a reader finds a request's rows in it."""

    store: ResultStore
    rows: Callable[[UUID], list[dict[str, Any]]]

    def put(self, *events: Any) -> None:
        batch = a_batch(self.store, events)
        if len(batch):
            self.store.write(batch)

    def the_row(self, request_id: UUID) -> dict[str, Any]:
        (row,) = self.rows(request_id)
        return row


def memory_shelf() -> Shelf:
    store = MemoryStore()
    return Shelf(store, lambda request_id: [row for (found, _), row in store.rows.items() if found == request_id])


def postgres_shelf(dsn: str) -> Shelf:
    migrate_postgres(dsn, datetime.now(UTC))

    def rows(request_id: UUID) -> list[dict[str, Any]]:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            return connection.execute("SELECT * FROM requests WHERE request_id = %s", (request_id,)).fetchall()

    return Shelf(PostgresStore(dsn), rows)


def clickhouse_shelf(url: str) -> Shelf:
    migrate_clickhouse(url)
    client = clickhouse_client(url)

    def rows(request_id: UUID) -> list[dict[str, Any]]:
        found = client.query("SELECT * FROM results WHERE request_id = {id:UUID}", parameters={"id": str(request_id)})
        return list(found.named_results())

    return Shelf(ClickHouseStore(url), rows)


@pytest.fixture(params=["memory", "postgres", "clickhouse"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    match request.param:
        case "postgres":
            return postgres_shelf(request.getfixturevalue("postgres_dsn"))
        case "clickhouse":
            return clickhouse_shelf(request.getfixturevalue("clickhouse_url"))
        case _:
            return memory_shelf()


@pytest.fixture(params=["memory", "postgres"])
def lookup(request: pytest.FixtureRequest) -> Shelf:
    """Stores that also show requests without a result."""
    return memory_shelf() if request.param == "memory" else postgres_shelf(request.getfixturevalue("postgres_dsn"))


@pytest.fixture(params=[uuid7, uuid4], ids=["v7", "v4"])
def request_id(request: pytest.FixtureRequest) -> UUID:
    made: UUID = request.param()
    return made


def test_a_result_is_found_as_it_was_written(shelf: Shelf, request_id: UUID) -> None:
    shelf.put(a_result(request_id, labels={"device_name": "edge-7"}, saved_usd=None, department="noc"))
    row = shelf.the_row(request_id)
    assert (row["status"], row["department"], row["labels"]) == ("completed", "noc", {"device_name": "edge-7"})
    assert (row["cost_usd"], row["saved_usd"]) == (Decimal("0.000286"), None)


def test_a_repeated_batch_changes_nothing(shelf: Shelf, request_id: UUID) -> None:
    batch = a_batch(shelf.store, [a_result(request_id)])
    shelf.store.write(batch)
    shelf.store.write(batch)
    assert len(shelf.rows(request_id)) == 1


def test_a_result_that_comes_again_in_another_batch_counts_once(shelf: Shelf, request_id: UUID) -> None:
    shelf.put(a_result(request_id), a_result())
    shelf.put(a_result(request_id), a_result(request_id))
    assert len(shelf.rows(request_id)) == 1


@pytest.mark.parametrize("order", [(1.0, 2.0), (2.0, 1.0)])
def test_of_two_results_the_earlier_completed_stays(shelf: Shelf, request_id: UUID, order: tuple[float, float]) -> None:
    for seconds in order:
        shelf.put(a_result(request_id, seconds, attempts=int(seconds)))
    assert shelf.the_row(request_id)["attempts"] == 1


def test_two_tenants_with_the_same_id_keep_a_row_each(shelf: Shelf, request_id: UUID) -> None:
    shelf.put(a_result(request_id, tenant="meridian"), a_result(request_id, tenant="polaris"))
    assert {row["tenant"] for row in shelf.rows(request_id)} == {"meridian", "polaris"}


def test_text_with_nul_is_kept_readable(shelf: Shelf, request_id: UUID) -> None:
    shelf.put(a_result(request_id, user_id="a\0b", labels={"note": "c\0d"}))
    assert shelf.the_row(request_id)["user_id"] in {"a\0b", "a\ufffdb"}


@pytest.mark.parametrize("year", [1, 9999])
def test_the_ends_of_the_calendar_are_written(shelf: Shelf, request_id: UUID, year: int) -> None:
    moment = datetime(year, 1, 2, tzinfo=UTC).isoformat()
    timing = {"accepted_at": moment, "started_at": moment, "completed_at": moment}
    shelf.put(a_result(request_id, timing=timing))
    assert len(shelf.rows(request_id)) == 1


def test_a_pending_request_is_visible_until_its_result_takes_its_place(lookup: Shelf, request_id: UUID) -> None:
    lookup.put(a_request(request_id=request_id))
    assert lookup.the_row(request_id)["status"] == "pending"
    lookup.put(a_result(request_id))
    row = lookup.the_row(request_id)
    assert (row["status"], row["lane"], row["answer"]) == ("completed", "interactive", "no shutdown")


def test_a_pending_request_that_comes_late_leaves_the_result(lookup: Shelf, request_id: UUID) -> None:
    lookup.put(a_result(request_id))
    lookup.put(a_request(request_id=request_id))
    row = lookup.the_row(request_id)
    assert (row["status"], row["lane"]) == ("completed", "interactive")


def test_analysts_see_no_pending_requests_and_no_text(clickhouse_url: str, request_id: UUID) -> None:
    shelf = clickhouse_shelf(clickhouse_url)
    shelf.put(a_request(request_id=request_id))
    assert shelf.rows(request_id) == []
    shelf.put(a_result(request_id))
    assert shelf.the_row(request_id)["answer"] is None


def test_the_daily_rollup_is_not_inflated_by_duplicates(clickhouse_url: str) -> None:
    shelf, tenant, request_id = clickhouse_shelf(clickhouse_url), f"t{uuid7().hex}", uuid7()
    for _ in range(3):
        shelf.put(a_result(request_id, tenant=tenant))
    client = clickhouse_client(clickhouse_url)
    rollup = "SELECT requests, cost_usd FROM department_days WHERE tenant = {tenant:String}"
    assert client.query(rollup, parameters={"tenant": tenant}).result_rows == [(1, Decimal("0.000286"))]


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_a_row_that_no_store_can_hold_is_told_from_a_store_that_is_down(
    name: str, request: pytest.FixtureRequest
) -> None:
    """While it is read or while it is written, whichever a store finds it in."""
    if name == "postgres":
        store = postgres_shelf(request.getfixturevalue("postgres_dsn")).store
    else:
        store = clickhouse_shelf(request.getfixturevalue("clickhouse_url")).store
    events = [a_result(uuid7()), a_result(uuid7(), attempts=2**70)]
    reading = read([as_record(encoded(event)) for event in events], store)
    reasons = [error.reason for _, error in reading.refused]
    if not reasons:
        with pytest.raises(BadRow):
            store.write(Batch(reading.chunks))
    assert reasons in ([], ["refused_by_store"])


@pytest.mark.parametrize(
    "store",
    [PostgresStore("postgresql://u:p@127.0.0.1:1/d"), ClickHouseStore("http://u:p@127.0.0.1:1")],
    ids=["postgres", "clickhouse"],
)
def test_a_store_that_is_down_is_unavailable(store: ResultStore) -> None:
    events: list[PromptResult] = [a_result()]
    with pytest.raises(StoreUnavailable):
        store.write(a_batch(store, events))
