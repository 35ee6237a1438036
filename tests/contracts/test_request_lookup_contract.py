"""What every lookup of requests promises, asked of the one in memory and the one in Postgres."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from ops.migrations.apply import migrate_postgres
from producers.gateway.lookup import (
    Calls,
    CallState,
    Known,
    LiveStatus,
    LookupUnavailableError,
    Place,
    RequestLookup,
    StoredRequest,
    Wanted,
)
from producers.gateway.status import live_status
from producers.uuid7 import uuid7
from streams.gateway.memory_lookup import MemoryLookup
from streams.gateway.postgres_lookup import PostgresLookup
from tests.gateway_parts import own_database

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
_NAMES = ", ".join(StoredRequest.__slots__)


@dataclass(frozen=True)
class Desk:
    """A lookup under test, and how a sink and a ledger would write what it finds."""

    lookup: RequestLookup
    put: Callable[[StoredRequest], None]
    call: Callable[[StoredRequest, CallState, datetime], None]


@pytest.fixture(scope="module")
def dsn(request: pytest.FixtureRequest) -> str:
    dsn = own_database(request.getfixturevalue("postgres_dsn"))
    migrate_postgres(dsn, datetime.now(UTC))
    return dsn


@pytest.fixture(params=["memory", "postgres"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        yield memory_desk()
        return
    dsn: str = request.getfixturevalue("dsn")
    with psycopg.connect(dsn, autocommit=True) as connection:
        lookup = PostgresLookup(dsn)
        yield postgres_desk(lookup, connection)
        await lookup.aclose()


def memory_desk() -> Desk:
    lookup = MemoryLookup()

    def call(row: StoredRequest, state: CallState, sent_at: datetime) -> None:
        before = lookup.calls.get((row.tenant, row.request_id), Calls())
        newest = before.last_sent_at is None or sent_at > before.last_sent_at
        last = (state, sent_at) if newest else (before.last, before.last_sent_at)
        lookup.calls[row.tenant, row.request_id] = Calls(before.count + 1, *last)

    return Desk(lookup, lookup.put, call)


def postgres_desk(lookup: RequestLookup, connection: psycopg.Connection[Any]) -> Desk:
    def put(row: StoredRequest) -> None:
        values = [Jsonb(value) if isinstance(value, dict) else value for value in astuple(row)]
        places = ", ".join(["%s"] * len(values))
        connection.execute(f"INSERT INTO requests ({_NAMES}) VALUES ({places})".encode(), values)

    def call(row: StoredRequest, state: CallState, sent_at: datetime) -> None:
        connection.execute(
            "INSERT INTO ledger_calls (call_id, key, epoch, request_id, tenant, model, state, sent_at)"
            " VALUES (%s, 'k', 1, %s, %s, 'm', %s, %s)",
            (uuid4(), row.request_id, row.tenant, state, sent_at),
        )

    return Desk(lookup, put, call)


def a_row(tenant: str, status: str = "pending", seconds: float = 0, **given: Any) -> StoredRequest:
    moment = NOW + timedelta(seconds=seconds)
    absent = dict.fromkeys(("department", "user_id", "application", "template", "lane"))
    fields: dict[str, Any] = {**absent, "labels": {}, **given}
    identity: UUID = fields.pop("request_id", None) or uuid7(int(moment.timestamp() * 1000))
    return StoredRequest(request_id=identity, tenant=tenant, status=status, accepted_at=moment, **fields)


def ids(found: Sequence[Known]) -> list[UUID]:
    return [each.stored.request_id for each in found if each.stored is not None]


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


async def test_a_row_is_found_as_it_was_written(desk: Desk, tenant: str) -> None:
    row = a_row(
        tenant,
        "completed",
        department="noc",
        user_id="ana",
        application="app",
        labels={"device_name": "a", "x": "ü"},
        template="network-config@1",
        lane="bulk",
        started_at=NOW,
        completed_at=NOW,
        queue_ms=1,
        model_ms=2,
        source="model",
        model="m",
        input_tokens=3,
        output_tokens=4,
        cache_read_tokens=5,
        cache_write_tokens=6,
        cost_usd=Decimal("0.0000012"),
        saved_usd=Decimal(0),
        attempts=1,
        paid_by=uuid4(),
        error_code="c",
        error_message="e",
        answer="text",
        stop_reason="end_turn",
    )
    desk.put(row)
    assert (await desk.lookup.find(tenant, row.request_id)) == Known(row, Calls())


async def test_another_tenants_row_and_call_are_not_found(desk: Desk, tenant: str) -> None:
    row = a_row(tenant)
    desk.put(row)
    desk.call(row, "sent", NOW)
    assert await desk.lookup.find(f"{tenant}x", row.request_id) == Known(None, Calls())
    assert await desk.lookup.find(tenant, uuid4()) == Known(None, Calls())


async def test_an_id_of_no_month_and_of_no_version_is_found_too(desk: Desk, tenant: str) -> None:
    row = a_row(tenant, request_id=uuid4())
    desk.put(row)
    assert (await desk.lookup.find(tenant, row.request_id)).stored == row


async def test_calls_are_counted_and_the_last_sent_one_tells(desk: Desk, tenant: str) -> None:
    row = a_row(tenant)
    desk.put(row)
    desk.call(row, "sent", NOW + timedelta(seconds=9))
    desk.call(row, "not_paid", NOW + timedelta(seconds=3))
    found = await desk.lookup.find(tenant, row.request_id)
    assert found.calls == Calls(2, "sent", NOW + timedelta(seconds=9))


async def test_calls_are_known_before_any_row_is(desk: Desk, tenant: str) -> None:
    row = a_row(tenant)
    desk.call(row, "sent", NOW)
    assert await desk.lookup.find(tenant, row.request_id) == Known(None, Calls(1, "sent", NOW))


async def test_calls_of_what_has_ended_are_not_asked_for(desk: Desk, tenant: str) -> None:
    row = a_row(tenant, "completed")
    desk.put(row)
    desk.call(row, "answered", NOW)
    assert (await desk.lookup.find(tenant, row.request_id)).calls == Calls()


async def test_a_list_holds_its_tenants_requests_the_newest_first(desk: Desk, tenant: str) -> None:
    rows = [a_row(tenant, seconds=number) for number in range(5)]
    for row in (*rows, a_row(f"{tenant}x", seconds=9)):
        desk.put(row)
    assert ids(await desk.lookup.page(Wanted(tenant, 10))) == [row.request_id for row in reversed(rows)]
    assert ids(await desk.lookup.page(Wanted(tenant, 2))) == [rows[4].request_id, rows[3].request_id]


async def test_a_list_goes_on_behind_a_place_also_among_equal_times(desk: Desk, tenant: str) -> None:
    rows = [a_row(tenant, seconds=number // 2, request_id=uuid7(1000 * number)) for number in range(6)]
    for row in rows:
        desk.put(row)
    place = Place(rows[3].accepted_at, rows[3].request_id)
    expected = [rows[2].request_id, rows[1].request_id, rows[0].request_id]
    assert ids(await desk.lookup.page(Wanted(tenant, 10, after=place))) == expected


@pytest.mark.parametrize(
    "wish",
    [
        {"user_id": "ana"},
        {"department": "noc"},
        {"device": "ams-01"},
        {"labels": {"site": "ams"}},
        {"labels": {"site": "ams", "device_name": "ams-01"}},
        {"since": NOW + timedelta(seconds=1)},
        {"status": "completed"},
    ],
)
async def test_a_list_holds_only_what_is_wanted(desk: Desk, tenant: str, wish: dict[str, Any]) -> None:
    labels = {"device_name": "ams-01", "site": "ams"}
    right = a_row(tenant, "completed", 1, user_id="ana", department="noc", labels=labels)
    wrong = a_row(tenant, "failed", 0, user_id="bob", department="ops", labels={"device_name": "fra-01", "site": "fra"})
    desk.put(right)
    desk.put(wrong)
    assert ids(await desk.lookup.page(Wanted(tenant, 10, **wish))) == [right.request_id]


async def test_every_status_is_wanted_by_what_its_calls_say(desk: Desk, tenant: str) -> None:
    states: list[CallState | None] = [None, *get_args(CallState)]
    rows = {state: a_row(tenant, seconds=number) for number, state in enumerate(states)}
    for state, row in rows.items():
        desk.put(row)
        if state is not None:
            desk.call(row, state, NOW)
    seen: list[UUID] = []
    for status in get_args(LiveStatus):
        found = await desk.lookup.page(Wanted(tenant, 10, status=status))
        assert {live_status(each.stored, each.calls) for each in found if each.stored} <= {status}
        seen += ids(found)
    assert sorted(seen) == sorted(row.request_id for row in rows.values())


async def test_text_of_any_kind_is_only_ever_text(desk: Desk, tenant: str) -> None:
    odd = "'; DROP TABLE requests; -- %s {} ü"
    row = a_row(tenant, user_id=odd, labels={"a": odd, "device_name": odd})
    desk.put(row)
    for wish in ({"user_id": odd}, {"device": odd}, {"labels": {"a": odd}}):
        assert ids(await desk.lookup.page(Wanted(tenant, 10, **wish))) == [row.request_id]
    assert list(await desk.lookup.page(replace(Wanted(odd, 10), user_id=odd))) == []


async def test_postgres_away_is_said() -> None:
    away = PostgresLookup("postgresql://headrace@127.0.0.1:9/headrace")
    with pytest.raises(LookupUnavailableError):
        await away.find("acme", uuid4())
    with pytest.raises(LookupUnavailableError):
        await away.page(Wanted("acme", 1))
    await away.aclose()
