"""Migrating both stores: repeatable, safe when two do it at once, and plain about a store that is down."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import ops.migrations
from ops.cli import migrate
from ops.cli.errors import CommandError
from ops.migrations.apply import MigrationError, StoreName, migrate_clickhouse, migrate_postgres, newest_step
from producers.uuid7 import uuid7
from streams.sinks.clickhouse_store import clickhouse_client

NOVEMBER = datetime(2026, 11, 21, tzinfo=UTC)
MAY = datetime(2027, 5, 3, tzinfo=UTC)


@pytest.fixture
def empty_postgres(postgres_dsn: str) -> str:
    name = f"migrations_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres_dsn.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def empty_clickhouse(clickhouse_url: str) -> str:
    return f"{clickhouse_url}/migrations_{uuid.uuid4().hex}"


def partition_of(dsn: str, request_id: uuid.UUID) -> str:
    query = "SELECT tableoid::regclass::text FROM requests WHERE request_id = %s"
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query, (request_id,)).fetchone()
    return "" if row is None else str(row[0])


def insert(dsn: str, request_id: uuid.UUID) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO requests (request_id, tenant, status, accepted_at) VALUES (%s, 't', 'pending', now())",
            (request_id,),
        )


def test_a_second_run_changes_nothing(empty_postgres: str, empty_clickhouse: str) -> None:
    assert migrate_postgres(empty_postgres, NOVEMBER).changed
    assert migrate_clickhouse(empty_clickhouse).changed
    assert not migrate_postgres(empty_postgres, NOVEMBER).changed
    assert not migrate_clickhouse(empty_clickhouse).changed


def test_two_at_once_end_in_one_schema(empty_postgres: str, empty_clickhouse: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        postgres = [pool.submit(migrate_postgres, empty_postgres, NOVEMBER) for _ in range(2)]
        done = [each.result() for each in postgres]
    assert sorted(each.changed for each in done) == [False, True]
    # ClickHouse has no lock to take: both may do the work, and it must not matter.
    first, second = migrate_clickhouse(empty_clickhouse), migrate_clickhouse(empty_clickhouse)
    assert (first.now, second.changed) == (newest_step("clickhouse"), False)
    assert clickhouse_client(empty_clickhouse).query("SELECT count() FROM results").first_row == (0,)


def test_a_lookup_by_id_touches_one_partition(empty_postgres: str) -> None:
    migrate_postgres(empty_postgres, NOVEMBER)
    request_id = uuid7(int(NOVEMBER.timestamp() * 1000))
    insert(empty_postgres, request_id)
    assert partition_of(empty_postgres, request_id) == "requests_2026_11"
    with psycopg.connect(empty_postgres) as connection:
        plan = connection.execute(f"EXPLAIN SELECT * FROM requests WHERE request_id = '{request_id}'".encode())
        tables = {word for (line,) in plan for word in line.split() if word.startswith("requests_20")}
    assert {table for table in tables if not table.endswith(("_pkey", "_idx"))} == {"requests_2026_11"}


def test_ids_of_no_month_and_of_a_later_one_wait_in_the_default_partition(empty_postgres: str) -> None:
    migrate_postgres(empty_postgres, NOVEMBER)
    random_id, later = uuid.UUID(int=2**128 - 1), uuid7(int(MAY.timestamp() * 1000))
    for request_id in (random_id, later):
        insert(empty_postgres, request_id)
        assert partition_of(empty_postgres, request_id) == "requests_default"
    assert "requests_2027_05" in migrate_postgres(empty_postgres, MAY).partitions
    assert partition_of(empty_postgres, later) == "requests_2027_05"
    assert partition_of(empty_postgres, random_id) == "requests_default"


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_the_file_names_and_alembic_agree_on_the_newest_step(store: StoreName) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(ops.migrations.__file__).parent / store))
    assert ScriptDirectory.from_config(config).get_heads() == [newest_step(store)]


def test_a_store_that_is_down_is_told_with_the_next_command() -> None:
    with pytest.raises(MigrationError, match="headrace status"):
        migrate_postgres("postgresql://u:secret@127.0.0.1:1/d", NOVEMBER)
    with pytest.raises(MigrationError, match="headrace status") as told:
        migrate_clickhouse("http://u:secret@127.0.0.1:1")
    assert "secret" not in str(told.value)


def test_one_store_down_does_not_keep_the_other_from_its_tables(
    empty_postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", empty_postgres)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", "http://u:p@127.0.0.1:1")
    with pytest.raises(CommandError) as failed:
        migrate.migrate(as_json=True)
    assert failed.value.exit_code == 4
    document = json.loads(capsys.readouterr().out)
    assert [store["store"] for store in document["stores"]] == ["postgres"]
    assert len(document["errors"]) == 1
