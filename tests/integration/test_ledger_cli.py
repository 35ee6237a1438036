"""The ledger in Postgres as an operator meets it: what it shows, finds wrong and deletes; and how it heals."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from ops.cli import run
from ops.migrations.apply import migrate_postgres
from producers.uuid7 import uuid7
from streams.ledger.port import Claimed, Known, LedgerUnavailable, RequestKey, Wish
from streams.ledger.postgres_ledger import PostgresLedger, new_owner
from tests.ledgers import a_key, a_sending, a_wish, answered, ask, sent, unknown


@pytest.fixture
def dsn(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of this test alone: an audit reads all of it."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    made = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(made, datetime.now(UTC))
    monkeypatch.setenv("HEADRACE_POSTGRES", made)
    return made


@pytest.fixture
def database(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def keep(dsn: str, *wishes: Wish, answer: bytes | None = b"SECRET-WORDS", seconds: float = 3600) -> None:
    """One call per wish: answered, or sent without its answer seen."""

    async def play() -> None:
        ledger = PostgresLedger(dsn, new_owner())
        for wish in wishes:
            epoch, call_id = await sent(ledger, wish)
            expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
            settled = (
                unknown(wish, epoch, call_id)
                if answer is None
                else answered(wish, epoch, call_id, answer, expires_at=expires_at)
            )
            assert await ledger.settle([settled]) == [True]
        await ledger.aclose()

    asyncio.run(play())


def write_result(database: psycopg.Connection, request_id: uuid.UUID, cost_usd: str = "0.000035") -> None:
    database.execute(
        """INSERT INTO requests (request_id, tenant, status, source, cost_usd, accepted_at, completed_at, paid_by)
           VALUES (%(id)s, 'meridian', 'completed', 'model', %(cost)s, now(), now(), %(id)s)""",
        {"id": request_id, "cost": Decimal(cost_usd)},
    )


def test_a_request_is_shown_with_its_key_and_calls_and_without_its_answer(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = a_wish(a_key())
    keep(dsn, wish)
    for name in (str(wish.request_id), wish.key):
        assert run(["ledger", "show", name, "--json"]) == 0
        told = capsys.readouterr().out
        document = json.loads(told)
        assert [row["state"] for row in document["rows"]] == ["answered"]
        assert [(call["state"], call["cost_usd"]) for call in document["calls"]] == [("answered", "0.000035")]
        assert run(["ledger", "show", name]) == 0
        assert "SECRET" not in told + capsys.readouterr().out


def test_a_name_the_ledger_does_not_know_is_not_found(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    del dsn
    assert run(["ledger", "show", str(uuid.uuid4())]) == 3
    assert run(["ledger", "show", "x' OR true --"]) == 3
    assert "next: headrace" in capsys.readouterr().err


def test_calls_of_unknown_outcome_are_listed_with_the_dollars_at_risk(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = a_wish(a_key())
    keep(dsn, a_wish(a_key()))
    keep(dsn, wish, answer=None)
    assert run(["ledger", "unknown", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [call["request_id"] for call in document["calls"]] == [str(wish.request_id)]
    assert document["at_risk_usd"] == "0.01"
    assert run(["ledger", "unknown"]) == 0
    assert "0.01 USD at risk" in capsys.readouterr().out


def test_books_that_agree_end_well_and_each_difference_is_named(
    dsn: str, database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    agreeing, unwritten, other_cost = (a_wish(a_key(), uuid7()) for _ in range(3))
    keep(dsn, agreeing)
    write_result(database, agreeing.request_id)
    assert run(["ledger", "audit"]) == 0
    assert "the books agree" in capsys.readouterr().out
    keep(dsn, unwritten, other_cost)
    write_result(database, other_cost.request_id, "0.1")
    unpaid = uuid7()
    write_result(database, unpaid)
    assert run(["ledger", "audit", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(state["state"], state["calls"], state["cost_usd"]) for state in document["states"]] == [
        ("answered", 3, "0.000105")
    ]
    told = "\n".join(document["differences"])
    assert len(document["differences"]) == 3
    assert all(str(wrong) in told for wrong in (unwritten.request_id, other_cost.request_id, unpaid))


def test_a_call_the_ledger_does_not_explain_is_found_in_the_model_s_own_ledger(
    dsn: str, database: psycopg.Connection, model_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = a_wish(a_key(), uuid7())
    keep(dsn, wish)
    write_result(database, wish.request_id)
    assert run(["ledger", "audit", "--model-ledger", model_url]) == 1
    assert f"request {wish.request_id}: the model charged 0 calls" in capsys.readouterr().out
    assert run(["ledger", "audit", "--model-ledger", "http://127.0.0.1:1"]) == 1


def test_pruning_deletes_what_expired_long_ago_and_nothing_else(
    dsn: str, database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    old, fresh, open_claim = (a_wish(a_key()) for _ in range(3))
    keep(dsn, old, fresh)
    keep(dsn, open_claim, answer=None)
    database.execute(
        """UPDATE ledger SET settled_at = now() - interval '8 days', expires_at = now() - interval '8 days'
           WHERE key = %s""",
        (old.key,),
    )
    database.execute("UPDATE ledger_calls SET sent_at = now() - interval '91 days' WHERE key = %s", (old.key,))
    for deleted in (1, 0):
        assert run(["ledger", "prune", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"rows": deleted, "calls": deleted}
    left = {key for (key,) in database.execute("SELECT key FROM ledger")}
    assert left == {fresh.key, open_claim.key}


def test_pruning_deletes_answers_that_were_replaced_long_ago(
    dsn: str, database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    long_ago, lately = a_key(), a_key()
    for key in (long_ago, lately):
        keep(dsn, a_wish(key), a_wish(key, refresh=True))
    database.execute(
        "UPDATE ledger_former_answers SET replaced_at = now() - interval '8 days' WHERE key = %s", (long_ago,)
    )
    for deleted in (1, 0):
        assert run(["ledger", "prune", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"rows": deleted, "calls": 0}
    assert {key for (key,) in database.execute("SELECT key FROM ledger_former_answers")} == {lately}


def test_many_old_rows_go_in_several_steps(dsn: str, database: psycopg.Connection) -> None:
    del dsn
    database.execute(
        """INSERT INTO ledger (key, tenant, state, owner, epoch, request_id, claimed_at, settled_at)
           SELECT 'k' || n, 't', 'released', 'o', 1, gen_random_uuid(), now(), now() - interval '9 days'
           FROM generate_series(1, 2500) n"""
    )
    assert run(["ledger", "prune"]) == 0
    assert database.execute("SELECT count(*) FROM ledger").fetchone() == (0,)


def test_a_database_without_a_ledger_is_told_with_the_next_step(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", postgres_dsn.rpartition("/")[0] + "/template1")
    assert run(["ledger", "unknown"]) == 1
    assert "headrace migrate" in capsys.readouterr().err


async def claimed_in_time(ledger: PostgresLedger, key: RequestKey) -> Claimed:
    async with asyncio.timeout(10):
        while True:
            with suppress(LedgerUnavailable):
                verdict = await ask(ledger, a_wish(key))
                if isinstance(verdict, Claimed):
                    return verdict
            await asyncio.sleep(0.02)


async def test_a_ledger_whose_connections_were_cut_heals_by_itself(dsn: str, database: psycopg.Connection) -> None:
    ledger = PostgresLedger(dsn, new_owner())
    wish = a_wish(a_key())
    epoch, call_id = await sent(ledger, wish)
    database.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'headrace-ledger'"""
    )
    assert (await claimed_in_time(ledger, a_key())).epoch == 1
    settlement = answered(wish, epoch, call_id)
    with suppress(LedgerUnavailable):
        await ledger.settle([settlement])
    assert await ledger.settle([settlement]) == [True]
    assert isinstance(await ask(ledger, wish), Known)
    await ledger.aclose()


async def test_a_claim_whose_reply_was_lost_is_not_held_for_ever(dsn: str, database: psycopg.Connection) -> None:
    ledger, other, key = PostgresLedger(dsn, new_owner()), PostgresLedger(dsn, new_owner()), a_key()
    asking = asyncio.create_task(ask(ledger, a_wish(key)))
    async with asyncio.timeout(10):
        while ledger._claims._sending is None or ledger._claims._waiting:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await ledger._claims.drained()
    row = database.execute("SELECT state FROM ledger WHERE key = %s", (key,)).fetchone()
    assert row == ("claimed",), "the server did what nobody waited for"
    alive = asyncio.create_task(ledger.keep_alive(0.05))
    assert (await claimed_in_time(other, key)).epoch == 2
    alive.cancel()
    for each in (ledger, other):
        await each.aclose()


async def test_the_heartbeat_keeps_claims_and_its_end_frees_them(dsn: str) -> None:
    ledger, other, key = PostgresLedger(dsn, new_owner(), 0.5), PostgresLedger(dsn, new_owner()), a_key()
    alive = asyncio.create_task(ledger.keep_alive(0.1))
    wish = a_wish(key)
    await ask(ledger, wish)
    ends = asyncio.get_running_loop().time() + 1
    while asyncio.get_running_loop().time() < ends:
        assert not isinstance(await ask(other, a_wish(key)), Claimed)
        await asyncio.sleep(0.05)
    alive.cancel()
    assert (await claimed_in_time(other, key)).epoch == 2
    assert await ledger.mark_sent([a_sending(wish, 1, uuid.uuid4())]) == [False]
    for each in (ledger, other):
        await each.aclose()
