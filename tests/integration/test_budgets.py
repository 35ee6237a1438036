"""Budgets as operators and requesters meet them: set, shown, held under load, counted anew."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ops.cli import run
from ops.migrations.apply import migrate_postgres
from schemas.request import PromptRequest
from schemas.result import PromptResult
from streams.ledger.budgets import BudgetKey
from streams.ledger.postgres_budgets import BudgetWatch, set_budget
from tests.ledgers import a_key, a_sending, a_wish, answered, postgres_office, sent
from tests.pipeline import Pipeline, a_question, running_pipeline, until

pytestmark = pytest.mark.timeout(240)

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def dsn(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of this test alone: a list shows all of it."""
    name = f"budgets_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    made = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(made, datetime.now(UTC))
    monkeypatch.setenv("HEADRACE_POSTGRES", made)
    return made


def told(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def complaint(capsys: Capture, *arguments: str) -> tuple[int, str]:
    return run(list(arguments)), capsys.readouterr().err


async def spend(dsn: str, cost_usd: str, **asker: Any) -> None:
    """One paid call, and one under way that reserves a cent."""
    office = postgres_office(dsn)
    wish = a_wish(a_key(), **asker)
    epoch, call_id = await sent(office.worker("a"), wish)
    await office.worker("a").settle([answered(wish, epoch, call_id, cost_usd=Decimal(cost_usd))])
    await sent(office.worker("a"), a_wish(a_key(), **asker))
    await office.aclose()


async def test_a_budget_is_set_shown_listed_and_removed(dsn: str, capsys: Capture) -> None:
    await spend(dsn, "0.5", user_id="eva")
    set_ = ("budget", "set", "--tenant", "meridian", "--user", "eva", "--period", "month")
    (made,) = told(capsys, *set_, "--soft", "0.4", "--hard", "12.50")["budgets"]
    assert (made["scope"], made["name"], made["soft_usd"], made["hard_usd"]) == ("user", "eva", "0.4", "12.5")
    assert (made["spent_usd"], made["reserved_usd"], made["left_usd"]) == ("0.5", "0.01", "11.99")
    assert made["over"] == ["soft"]
    told(capsys, "budget", "set", "--tenant", "meridian", "--period", "month", "--hard", "100")
    assert len(told(capsys, "budget", "list")["budgets"]) == 2
    assert [each["scope"] for each in told(capsys, "budget", "list", "--over", "soft")["budgets"]] == ["user"]
    assert told(capsys, "budget", "list", "--over", "hard", "--tenant", "meridian")["budgets"] == []
    assert told(capsys, "budget", "show", "--tenant", "meridian", "--user", "eva")["budgets"] == [made]
    assert run(["budget", "list"]) == 0
    assert "meridian user eva, a month: soft $0.4, hard $12.5; $0.5 spent" in (words := capsys.readouterr().out)
    assert "OVER SOFT" in words
    told(capsys, "budget", "remove", "--tenant", "meridian", "--user", "eva", "--period", "month")
    assert complaint(capsys, "budget", "show", "--tenant", "meridian", "--user", "eva")[0] == 3
    assert complaint(capsys, "budget", "remove", "--tenant", "meridian", "--user", "eva", "--period", "month")[0] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "--tenant", "t", "--period", "week", "--hard", "1"),
        ("set", "--tenant", "t", "--period", "day"),
        ("set", "--tenant", "t", "--period", "day", "--hard", "-1"),
        ("set", "--tenant", "t", "--period", "day", "--hard", "much"),
        ("set", "--tenant", "t", "--period", "day", "--hard", "NaN"),
        ("set", "--tenant", "t", "--period", "day", "--soft", "2", "--hard", "1"),
        ("set", "--tenant", "t", "--period", "day", "--hard", "1", "--user", "u", "--department", "d"),
        ("set", "--tenant", "t", "--period", "day", "--hard", "1", "--user", ""),
        ("list", "--over", "the top"),
    ],
)
def test_what_is_no_budget_is_told_before_anything_is_asked(capsys: Capture, arguments: tuple[str, ...]) -> None:
    code, words = complaint(capsys, "budget", *arguments)
    assert code == 2
    assert "next: headrace budget" in words


def test_without_its_tables_or_server_a_command_says_what_to_do(
    postgres_dsn: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", postgres_dsn.rpartition("/")[0] + "/template1")
    code, words = complaint(capsys, "budget", "list")
    assert (code, "headrace migrate" in words) == (1, True)
    monkeypatch.setenv("HEADRACE_POSTGRES", "postgresql://u:secret@127.0.0.1:1/d")
    code, words = complaint(capsys, "budget", "list")
    assert (code, "secret" in words) == (1, False)


async def test_counters_that_are_wrong_are_counted_anew_and_named(dsn: str, capsys: Capture) -> None:
    told(capsys, "budget", "set", "--tenant", "meridian", "--period", "month", "--hard", "100")
    told(capsys, "budget", "set", "--tenant", "other", "--period", "month", "--hard", "100")
    await spend(dsn, "0.5")
    before = told(capsys, "budget", "list")
    assert told(capsys, "budget", "rebuild") == {"budgets": 2, "differed": []}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE budgets SET spent_usd = 7, at_risk_usd = 1 WHERE tenant = 'meridian'")
    assert run(["budget", "rebuild"]) == 0
    assert "2 budgets counted anew, 1 had differed\n  meridian tenant month" in capsys.readouterr().out
    assert told(capsys, "budget", "list") == before


async def test_the_watch_counts_budgets_over_their_limits(dsn: str) -> None:
    seen: list[tuple[int, int]] = []
    watch = BudgetWatch(dsn, lambda *counts: seen.append(counts))
    await spend(dsn, "5", user_id="eva")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for user, soft, hard in (("eva", "1", "2"), ("tom", "1", "2")):
            set_budget(connection, BudgetKey("meridian", "user", user, "month"), Decimal(soft), Decimal(hard))
        set_budget(connection, BudgetKey("meridian", "tenant", "", "month"), Decimal(4), None)
    await watch.look()
    assert seen == [(2, 1)]


async def test_batches_that_meet_at_many_budgets_do_not_deadlock(dsn: str) -> None:
    users = [f"u{number}" for number in range(20)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for user in users:
            set_budget(connection, BudgetKey("meridian", "user", user, "month"), None, Decimal(1000))
        set_budget(connection, BudgetKey("meridian", "tenant", "", "month"), None, Decimal(1000))
    offices = [postgres_office(dsn) for _ in range(4)]

    async def work(number: int, turn: int) -> None:
        ledger = offices[number].worker("a")
        order = users[turn:] + users[:turn]
        wishes = [a_wish(a_key(), user_id=user) for user in (reversed(order) if number % 2 else order)]
        await ledger.claim(wishes)
        calls = [uuid.uuid4() for _ in wishes]
        await ledger.mark_sent([a_sending(wish, 1, call) for wish, call in zip(wishes, calls, strict=True)])
        await ledger.settle([answered(wish, 1, call) for wish, call in zip(wishes, calls, strict=True)])

    for turn in range(10):
        await asyncio.gather(*(work(number, turn + extra) for number in range(4) for extra in range(3)))
    for office in offices:
        await office.aclose()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
        spent = connection.execute("SELECT sum(spent_usd), sum(reserved_usd) FROM budgets").fetchone()
    assert row == (0,)
    assert spent == (2 * 10 * 4 * 3 * 20 * Decimal("0.000035"), 0)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("budgets")) as running:
        yield running


def rejected(results: dict[UUID, PromptResult]) -> list[PromptResult]:
    return [result for result in results.values() if result.status == "rejected"]


def asked_by(tenant: str, count: int) -> list[PromptRequest]:
    return [a_question(tenant).model_copy(update={"max_tokens": 300, "user_id": "eva"}) for _ in range(count)]


def test_a_hundred_at_once_on_a_budget_for_ten_are_answered_while_it_lasts_and_rejected_after(
    pipeline: Pipeline, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", pipeline.postgres)
    with pipeline.worker("one"), pipeline.worker("two"), pipeline.following() as results:
        usual = asked_by("meridian", 10)
        pipeline.ask(usual)
        ten_usd = sum(result.cost_usd or Decimal(0) for result in results.wait_for(usual, 60).values())
        pipeline.model.reset()
        pipeline.model.set(latency_seconds=0.2)
        whose = ("--tenant", "meridian", "--user", "eva")
        with psycopg.connect(pipeline.postgres, autocommit=True) as connection:
            connection.execute("DELETE FROM ledger_calls")
        told(capsys, "budget", "set", *whose, "--period", "month", "--hard", f"{ten_usd:f}", "--soft", "0")
        hundred = asked_by("meridian", 100)
        pipeline.ask(hundred)
        found = results.wait_for(hundred, 180)
        until(lambda: pipeline.lag() == 0, 30)
        assert all(len(results.seen[request.request_id]) == 1 for request in hundred)
    assert Counter(result.status for result in found.values()).keys() == {"completed", "rejected"}
    spent_usd = sum(result.cost_usd or Decimal(0) for result in found.values())
    with psycopg.connect(pipeline.postgres, autocommit=True) as connection:
        row = connection.execute("SELECT max(reserved_usd), sum(cost_usd), count(*) FROM ledger_calls").fetchone()
    assert row is not None
    reserved_usd, ledger_usd, calls = row
    assert ten_usd <= spent_usd < ten_usd + reserved_usd, "all of it is spent, and less than one reservation more"
    assert calls == len(found) - len(rejected(found)) == len(pipeline.charged())
    assert ledger_usd == spent_usd
    assert len(rejected(found)) >= 80
    (shown,) = told(capsys, "budget", "show", *whose)["budgets"]
    assert (Decimal(shown["spent_usd"]), shown["at_risk_usd"], shown["reserved_usd"]) == (spent_usd, "0", "0")
    assert told(capsys, "budget", "rebuild")["differed"] == []
    for result in rejected(found):
        assert result.error is not None
        assert result.error.code == "budget_exceeded"
        assert "$0.00 left" in result.error.message
        assert "it resets at 20" in result.error.message
