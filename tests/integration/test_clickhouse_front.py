"""The local ClickHouse server, spoken to by the clients people use: plain HTTP, clickhouse-connect, SQLAlchemy."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
import sqlalchemy
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError

from ops.local.clickhouse_front.failure import ClickHouseFailure
from ops.local.clickhouse_front.request import decompressed
from ops.local.clickhouse_front.statement import read_statement

PASSWORD = "a-password"
BASIC = urllib3.make_headers(basic_auth=f"headrace:{PASSWORD}")


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> str:
        return self.headers.get("X-ClickHouse-Exception-Code", "")


def ask(
    method: str, address: str, *, url: dict[str, str], body: str | bytes = b"", headers: dict[str, str] | None = None
) -> Reply:
    reply = urllib3.request(method, f"{address}?{urlencode(url)}", body=body, headers=headers, retries=False)
    return Reply(reply.status, reply.headers, reply.data.decode())


@dataclass
class Server:
    data: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def post(self, sql: str | bytes, headers: dict[str, str] | None = None, **url: str) -> Reply:
        return ask(
            "POST", self.url, url={"database": "headrace", **url}, body=sql, headers={**BASIC, **(headers or {})}
        )

    def get(self, sql: str, **url: str) -> Reply:
        return ask("GET", self.url, url={"query": sql, "database": "headrace", **url}, headers=BASIC)

    def run(self, sql: str, **url: str) -> str:
        reply = self.post(sql, None, **url)
        assert reply.status == 200, reply.text
        return reply.text.strip()

    def client(self, **options: Any) -> Any:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "username": "headrace", "password": PASSWORD}
        return clickhouse_connect.get_client(**where, **{"database": "headrace", **options})


def start(data: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.local.clickhouse_front", "--data", str(data), "--port", str(port)],
        env={**os.environ, "HEADRACE_CLICKHOUSE_PASSWORD": PASSWORD},
    )
    server = Server(data, port, process)
    until(lambda: answers(server), process)
    return server


def answers(server: Server) -> bool:
    try:
        return ask("GET", server.url + "ping", url={}).text == "Ok.\n"
    except urllib3.exceptions.HTTPError:
        return False


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def end(server: Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(10)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start(tmp_path_factory.mktemp("clickhouse"))
    yield started
    end(started)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    server.run(
        "CREATE TABLE t (id UInt64, text String, kind LowCardinality(String), cost Nullable(Decimal(18, 6)))"
        " ENGINE = MergeTree ORDER BY id"
    )
    yield "t"
    server.run("DROP TABLE t")


def rows(count: int) -> list[list[object]]:
    return [
        [number, f"text {number}; 'quoted' \n FORMAT Native", f"kind {number % 7}", Decimal("1.25")]
        for number in range(count)
    ]


# Plain HTTP


def test_a_query_comes_by_url_or_by_body_or_by_both(server: Server) -> None:
    assert server.get("SELECT 1").text == "1\n"
    assert server.post("SELECT 1 AS one FORMAT JSONEachRow").text == '{"one":1}\n'
    assert server.post("+ 1", query="SELECT 1").text == "2\n"


def test_an_answer_carries_the_headers_of_clickhouse(server: Server) -> None:
    headers = server.get("SELECT 1 FORMAT CSV", query_id="my-query").headers
    assert headers["X-ClickHouse-Query-Id"] == "my-query"
    assert headers["X-ClickHouse-Format"] == "CSV"
    assert headers["X-ClickHouse-Timezone"]
    assert headers["X-ClickHouse-Server-Display-Name"]
    assert '"read_rows": "1"' in headers["X-ClickHouse-Summary"]


def test_the_default_format_is_taken_from_the_url(server: Server) -> None:
    assert server.get("SELECT 1 AS one", default_format="JSONEachRow").text == '{"one":1}\n'


def test_rows_follow_an_insert_in_the_body_or_stand_alone_in_it(server: Server, table: str) -> None:
    assert server.post("1,one,a,1\n2,two,a,2\n", query=f"INSERT INTO {table} FORMAT CSV").status == 200
    assert server.post(f'INSERT INTO {table} FORMAT JSONEachRow\n{{"id":3,"text":"a;b"}}').status == 200
    server.run(f"INSERT INTO {table} (id, text) VALUES (4, 'FORMAT CSV; x')")
    server.run(f"INSERT INTO {table} SELECT 5, 'five', '', NULL FORMAT Null")
    assert server.run(f"SELECT count(), sum(id) FROM {table}") == "5\t15"


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_may_be_compressed(server: Server, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert server.post(compress(b"SELECT 1"), headers={"Content-Encoding": encoding}).text == "1\n"


def test_a_body_that_inflates_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ClickHouseFailure) as refused:
        decompressed(gzip.compress(bytes(2_000)), "gzip", limit_bytes=1_000)
    assert refused.value.status == 413


def test_a_broken_compressed_body_is_refused(server: Server) -> None:
    for encoding in ("gzip", "deflate", "lz4", "zstd"):
        reply = server.post(b"SELECT 1", headers={"Content-Encoding": encoding})
        assert reply.code == "354", encoding


def test_credentials_come_by_basic_by_headers_or_by_url(server: Server) -> None:
    asked = {"query": "SELECT 1"}
    headers = {"X-ClickHouse-User": "headrace", "X-ClickHouse-Key": PASSWORD}
    assert ask("GET", server.url, url=asked, headers=headers).text == "1\n"
    assert ask("GET", server.url, url={**asked, "user": "headrace", "password": PASSWORD}).text == "1\n"
    assert ask("GET", server.url, url=asked, headers=BASIC).text == "1\n"


def test_without_credentials_or_with_wrong_ones_nothing_is_answered(server: Server) -> None:
    nothing = ask("GET", server.url, url={"query": "SELECT 1"})
    assert (nothing.status, nothing.code) == (401, "194")
    for user, password in (("headrace", "wrong"), ("other", PASSWORD), ("headrace", "")):
        offered = urllib3.make_headers(basic_auth=f"{user}:{password}")
        wrong = ask("GET", server.url, url={"query": "SELECT 1"}, headers=offered)
        assert (wrong.status, wrong.code) == (403, "516")


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nowhere", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT FROM WHERE", 400, "62", "SYNTAX_ERROR"),
        ("  -- nothing", 400, "62", "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, "62", "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("INSERT INTO nowhere FORMAT CSV\n1", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT 1 INTO OUTFILE '/tmp/headrace-never'", 501, "48", "NOT_IMPLEMENTED"),
    ],
)
def test_a_failure_carries_code_message_and_status(server: Server, sql: str, status: int, code: str, name: str) -> None:
    reply = server.post(sql)
    assert (reply.status, reply.code) == (status, code)
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in reply.text


def test_a_failed_insert_leaves_nothing(server: Server, table: str) -> None:
    assert server.post(f"INSERT INTO {table} (id) FORMAT CSV\n1\nnot a number\n").status == 400
    assert server.run(f"SELECT count() FROM {table}") == "0"


def test_get_may_not_write(server: Server, table: str) -> None:
    into = f"INSERT INTO {table} (id)"
    for sql in (f"{into} VALUES (1)", f"{into} FORMAT CSV\n1", f"{into} SELECT 1", f"TRUNCATE TABLE {table}"):
        assert server.get(sql).code == "164"
        assert server.get(sql, readonly="0").code == "164"


def test_an_unknown_setting_is_an_error_and_those_of_the_interface_are_not(server: Server) -> None:
    assert server.get("SELECT 1", no_such_setting="1").code == "115"
    interface = {"wait_end_of_query": "1", "send_progress_in_http_headers": "1", "enable_http_compression": "1"}
    assert server.get("SELECT 1", **interface, quota_key="q", role="r", buffer_size="1").text == "1\n"


def test_a_long_url_is_served_and_an_endless_one_refused(server: Server) -> None:
    assert server.get("SELECT length('" + "x" * 50_000 + "')").text == "50000\n"
    assert server.get("SELECT length('" + "x" * 200_000 + "')").status == 400


@pytest.mark.parametrize(
    ("sql", "text", "format_name", "inserted"),
    [
        (b"SELECT 'FORMAT CSV; x' -- ; y\n;", b"SELECT 'FORMAT CSV; x' -- ; y\n", None, None),
        (
            b"/* a; b */ SELECT 1 AS format, 2 FORMAT JSON ;",
            b"/* a; b */ SELECT 1 AS format, 2 FORMAT JSON ",
            "JSON",
            None,
        ),
        (
            b"INSERT INTO t (format, `FORMAT x`) FORMAT CSV \r\n\n;",
            b"INSERT INTO t (format, `FORMAT x`) ",
            "CSV",
            b"\n;",
        ),
        (b"INSERT INTO t VALUES (';'); ", b"INSERT INTO t VALUES (';'); ", None, None),
        (b"INSERT INTO t SELECT 1 FORMAT Null", b"INSERT INTO t SELECT 1 FORMAT Null", "Null", None),
        (
            b"INSERT INTO t SETTINGS a = 1 FORMAT Native\n\x00\xff;'",
            b"INSERT INTO t SETTINGS a = 1 ",
            "Native",
            b"\x00\xff;'",
        ),
    ],
)
def test_rows_begin_where_clickhouse_says(
    sql: bytes, text: bytes, format_name: str | None, inserted: bytes | None
) -> None:
    statement = read_statement(sql)
    assert (statement.text, statement.format) == (text, format_name)
    assert (None if statement.rows is None else bytes(statement.rows)) == inserted


# clickhouse-connect


def test_the_client_inserts_in_native_with_every_compression(server: Server, table: str) -> None:
    names = ["id", "text", "kind", "cost"]
    for compression in (True, "lz4", "zstd", "gzip", False):
        summary = server.client(compress=compression).insert(table, rows(1_000), column_names=names)
        assert summary.written_rows == 1_000, compression
    stored = server.client().query(f"SELECT DISTINCT * FROM {table} ORDER BY id").result_rows
    assert [list(row) for row in stored] == rows(1_000)


def test_the_client_inserts_fast(server: Server, table: str) -> None:
    client = server.client()
    many = rows(50_000)
    started = time.monotonic()
    client.insert(table, many, column_names=["id", "text", "kind", "cost"])
    assert time.monotonic() - started < 5
    assert client.command(f"SELECT count() FROM {table}") == 50_000


def test_the_client_binds_parameters(server: Server) -> None:
    bound = {"text": "it's \\ \n\t", "number": 7}
    assert server.client().query("SELECT {text:String}, {number:UInt32}", parameters=bound).first_row == tuple(
        bound.values()
    )
    many = {"ids": list(range(5_000))}
    assert server.client().query("SELECT length({ids:Array(UInt32)})", parameters=many).first_row == (5_000,)


def test_an_empty_answer_still_names_its_columns(server: Server, table: str) -> None:
    empty = server.client().query(f"SELECT id, {{x:String}} AS x FROM {table}", parameters={"x": "y"})
    assert (list(empty.column_names), empty.result_rows) == (["id", "x"], [])
    assert list(server.client().query("SHOW TABLES LIKE 'no such'").column_names) == ["name"]
    assert [str(kind.name) for kind in empty.column_types] == ["UInt64", "String"]


def test_the_client_learns_code_and_name_of_a_failure(server: Server) -> None:
    with pytest.raises(DatabaseError) as failed:
        server.client().query("SELECT * FROM nowhere")
    assert (failed.value.code, failed.value.name) == (60, "UNKNOWN_TABLE")


def test_a_session_keeps_its_temporary_tables_and_drops_the_settings_of_one_query(server: Server) -> None:
    client = server.client()
    client.command("CREATE TEMPORARY TABLE mine (a Int8)")
    client.command("INSERT INTO mine VALUES (1)")
    assert client.query("SELECT a FROM mine", settings={"max_threads": 1}).first_row == (1,)
    assert server.post("SELECT * FROM mine").status == 404
    limited = client.command("SELECT getSetting('max_block_size')", settings={"max_block_size": 99})
    assert (limited, client.command("SELECT getSetting('max_block_size')") != 99) == (99, True)


def test_a_session_serves_one_query_at_a_time(server: Server) -> None:
    def sleep(_: int) -> str:
        return server.post("SELECT sleep(0.5)", session_id="one").code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(sleep, range(2))) == ["", "373"]


def test_large_answers_stream_into_the_client(server: Server) -> None:
    with server.client().query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
        assert sum(len(block) for block in blocks) == 200_000


async def test_the_async_client_queries_and_inserts(server: Server, table: str) -> None:
    where: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "username": "headrace", "password": PASSWORD}
    client = await clickhouse_connect.get_async_client(**where, database="headrace")
    try:
        await client.insert(table, rows(10), column_names=["id", "text", "kind", "cost"])
        assert (await client.query(f"SELECT count() FROM {table}")).first_row == (10,)
    finally:
        await client.close()


def test_a_repeated_deduplication_token_writes_once(server: Server, table: str) -> None:
    client = server.client()
    client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 100")
    for token in ("first", "first", "second"):
        client.insert(table, [[1]], column_names=["id"], settings={"insert_deduplication_token": token})
    assert client.command(f"SELECT count() FROM {table}") == 2
    for _ in range(2):
        client.insert(table, [[2]], column_names=["id"])
    assert client.command(f"SELECT count() FROM {table}") == 3


def test_readers_see_whole_batches_while_writers_insert(server: Server, table: str) -> None:
    names = ["id", "text", "kind", "cost"]

    def write(_: int) -> None:
        client = server.client()
        for _ in range(5):
            client.insert(table, rows(1_000), column_names=names)

    def read(_: int) -> None:
        client = server.client()
        for _ in range(15):
            assert client.command(f"SELECT count() FROM {table}") % 1_000 == 0

    with ThreadPoolExecutor(6) as threads:
        work = [threads.submit(task, number) for task in (write, read) for number in range(3)]
        for part in work:
            part.result()
    assert server.run(f"SELECT count() FROM {table}") == "15000"


# SQLAlchemy, as alembic uses it


def test_sqlalchemy_creates_fills_and_reads(server: Server) -> None:
    server.run("CREATE DATABASE migrated")
    engine = sqlalchemy.create_engine(f"clickhousedb://headrace:{PASSWORD}@127.0.0.1:{server.port}/migrated")
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE versions (num String) ENGINE = MergeTree ORDER BY num"))
        assert connection.execute(sqlalchemy.text("SELECT num FROM versions")).fetchall() == []
        connection.execute(sqlalchemy.text("INSERT INTO versions (num) VALUES ('0001')"))
        assert connection.execute(sqlalchemy.text("SELECT num FROM versions")).scalar() == "0001"
        assert sqlalchemy.inspect(connection).get_table_names() == ["versions"]
        connection.execute(sqlalchemy.text("DROP TABLE versions"))
    engine.dispose()


# What the sinks' tables are made of


def test_a_replacing_table_counts_each_row_once_and_feeds_rollups(server: Server) -> None:
    server.run(
        "CREATE TABLE results (id UInt32, tenant String, at DateTime, version UInt8, cost Decimal(18, 6))"
        " ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(at) ORDER BY (tenant, id)"
        " TTL at + INTERVAL 10 YEAR"
    )
    server.run(
        "CREATE TABLE rollup (tenant String, ids AggregateFunction(uniqExact, UInt32))"
        " ENGINE = AggregatingMergeTree ORDER BY tenant"
    )
    server.run(
        "CREATE MATERIALIZED VIEW to_rollup TO rollup AS"
        " SELECT tenant, uniqExactState(id) AS ids FROM results GROUP BY tenant"
    )
    server.run("CREATE VIEW each_once AS SELECT * FROM results FINAL")
    for _ in range(2):
        server.run("INSERT INTO results FORMAT CSV\n1,a,2026-01-05 00:00:00,1,0.5\n2,a,2026-02-05 00:00:00,1,0.25\n")
    assert server.run("SELECT count(), sum(cost) FROM each_once") == "2\t0.75"
    assert server.run("SELECT count() FROM results") == "4"
    assert server.run("SELECT uniqExactMerge(ids) FROM rollup") == "2"
    assert server.run("SELECT uniqExact(partition) FROM system.parts WHERE table = 'results' AND active") == "2"
    server.run("OPTIMIZE TABLE results FINAL")
    assert server.run("SELECT count() FROM results") == "2"


# The process


def test_acknowledged_inserts_survive_a_kill(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    try:
        server.run("CREATE TABLE kept (id UInt64) ENGINE = MergeTree ORDER BY id")
        acknowledged = 0
        for _ in range(20):
            acknowledged += server.client().insert("kept", [[1]] * 500, column_names=["id"]).written_rows
        server.run("INSERT INTO kept VALUES (1), (2)")
    finally:
        server.process.kill()
        server.process.wait()
    again = start(tmp_path / "data")
    try:
        assert again.run("SELECT count() FROM kept") == str(acknowledged + 2)
    finally:
        end(again)


def test_sigterm_lets_a_running_query_finish(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(server.post("SELECT sleepEachRow(1) FROM numbers(1)")))
    try:
        asking.start()
        until(lambda: server.run("SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(1)%'") == "2")
        server.process.send_signal(signal.SIGTERM)
        asking.join(10)
        assert [reply.text for reply in replies] == ["0\n"]
        assert server.process.wait(10) == 0
    finally:
        end(server)


def test_it_refuses_to_start_without_a_password_or_on_data_in_use(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ops.local.clickhouse_front", "--port", "0", "--data"]
    without = {name: value for name, value in os.environ.items() if name != "HEADRACE_CLICKHOUSE_PASSWORD"}
    refused = subprocess.run([*command, str(tmp_path)], env=without, capture_output=True, timeout=20, check=False)
    assert (refused.returncode, b"HEADRACE_CLICKHOUSE_PASSWORD is not set" in refused.stderr) == (2, True)
    environment = {**os.environ, "HEADRACE_CLICKHOUSE_PASSWORD": PASSWORD}
    taken = subprocess.run([*command, str(server.data)], env=environment, capture_output=True, timeout=20, check=False)
    assert (taken.returncode, b"is another server running there?" in taken.stderr) == (1, True)
