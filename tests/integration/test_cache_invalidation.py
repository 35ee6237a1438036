"""An invalidation is one moment in Postgres that every tier and worker honours, and nothing can undo."""

import asyncio
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ops.cli import run
from ops.migrations.apply import migrate_postgres
from schemas.request import PromptRequest
from streams.admission import Admission
from streams.cache.cutoffs import Cutoffs, group_of
from streams.cache.postgres_cutoffs import PostgresCutoffs
from tests.builders import MODEL, a_request, asking

NOBODY = "postgresql://headrace@127.0.0.1:1/headrace"


@pytest.fixture(scope="module")
def database(postgres_dsn: str) -> str:
    name = f"cache_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    made = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(made, datetime.now(UTC))
    return made


@pytest.fixture
def dsn(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Postgres alone is there, and nothing has been invalidated."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE cache_cutoffs")
    monkeypatch.setenv("HEADRACE_POSTGRES", database)
    monkeypatch.setenv("HEADRACE_REDIS", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", "http://127.0.0.1:1")
    return database


def known(dsn: str) -> Cutoffs:
    """What a worker that starts now knows."""
    cutoffs = Cutoffs()

    async def play() -> None:
        reader = PostgresCutoffs(dsn, cutoffs)
        await reader.read()
        await reader._let_go()

    asyncio.run(play())
    return cutoffs


def since(cutoffs: Cutoffs, request: PromptRequest) -> int:
    return cutoffs.fresh_since_ms(request.tenant, request.template, MODEL, request.labels)


@pytest.mark.parametrize(
    ("option", "asked", "other"),
    [
        (
            ["--label", "device_name=osl-01"],
            {"labels": {"device_name": "osl-01"}},
            {"labels": {"device_name": "osl-02"}},
        ),
        (["--tenant", "aurora"], {"tenant": "aurora"}, {"tenant": "meridian"}),
        (["--template", "config-review@1"], {"template": "config-review@1", "variables": {"config": "x"}}, {}),
        (["--model", MODEL], {}, None),
        (["--all"], {}, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_it_reaches_the_requests_of_its_group_and_no_others(
    dsn: str,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
    asked: dict[str, object],
    other: dict[str, object] | None,
) -> None:
    assert run(["cache", "invalidate", *option, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cutoffs = known(dsn)
    moment_ms = int(datetime.fromisoformat(told["fresh_since"]).timestamp() * 1000)
    assert since(cutoffs, a_request(**asked)) == moment_ms
    if other is not None:
        assert since(cutoffs, a_request(**other)) == 0


def test_a_later_one_moves_the_moment_and_the_newest_of_several_counts(dsn: str) -> None:
    for option in (["--all"], ["--tenant", "meridian"], ["--all"]):
        assert run(["cache", "invalidate", *option]) == 0
    cutoffs = known(dsn)
    assert len(cutoffs) == 2
    with psycopg.connect(dsn) as connection:
        newest = connection.execute("SELECT fresh_since FROM cache_cutoffs WHERE group_name = 'all'").fetchone()
    assert newest is not None
    assert since(cutoffs, a_request()) == int(newest[0].timestamp() * 1000)


def test_moments_older_than_any_answer_are_forgotten(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO cache_cutoffs VALUES ('tenant:old', now() - interval '31 days')")
        assert len(known(dsn)) == 0
        assert run(["cache", "invalidate", "--tenant", "new"]) == 0
        assert connection.execute("SELECT group_name FROM cache_cutoffs").fetchall() == [("tenant:new",)]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "--tenant", "x"], ["--label", "device_name"], ["--template", "network-config"]],
    ids=["none", "two", "no value", "no version"],
)
def test_what_is_not_one_group_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "invalidate", *arguments]) == 2
    assert "next: headrace cache invalidate --help" in capsys.readouterr().err


def test_without_postgres_nothing_is_invalidated_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", NOBODY)
    assert run(["cache", "invalidate", "--all"]) == 1
    assert "next: headrace status" in capsys.readouterr().err


async def test_a_running_worker_hears_of_it_within_seconds_and_keeps_it_while_postgres_is_away(dsn: str) -> None:
    cutoffs = Cutoffs()
    reader = PostgresCutoffs(dsn, cutoffs)
    following = asyncio.create_task(reader.follow(0.1))
    assert await asyncio.to_thread(run, ["cache", "invalidate", "--tenant", "meridian"]) == 0
    asked_at = time.monotonic()
    async with asyncio.timeout(5):
        while not len(cutoffs):  # noqa: ASYNC110 - another process's word
            await asyncio.sleep(0.02)
    assert time.monotonic() - asked_at < 2
    reader._dsn = NOBODY
    await reader._let_go()
    await reader.read()
    assert len(cutoffs) == 1
    following.cancel()


def test_admission_tells_a_request_since_when_answers_are_good_for_it() -> None:
    cutoffs, moment = Cutoffs(), datetime.now(UTC) - timedelta(seconds=5)
    cutoffs.replace({group_of("tenant", "meridian"): moment})
    admission = Admission(MODEL, lambda request, model: cutoffs.fresh_since_ms(request.tenant, None, model, {}))
    let_in = admission.admit(asking(a_request()), a_request(), datetime.now(UTC))
    assert getattr(let_in, "fresh_since_ms", None) == int(moment.timestamp() * 1000)


@pytest.mark.usefixtures("dsn")
def test_stats_show_what_can_be_asked_and_name_what_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "invalidate", "--tenant", "meridian"]) == 0
    capsys.readouterr()
    assert run(["cache", "stats", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ledger"] == {"answers": 0, "bytes": 0}
    assert [row["group"] for row in document["invalidated"]] == ["tenant:meridian"]
    assert document["away"] == ["redis", "clickhouse"]
    assert run(["cache", "stats"]) == 0
