"""`headrace up` as a stranger uses it: from an empty folder, by standard clients, through a kill, down to nothing."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx2
import psutil
import psycopg
import pytest
import redis
from confluent_kafka.admin import AdminClient

from ops.bulk_run import BulkOptions, BulkSummary, run_bulk
from schemas.topics import TOPICS
from streams.settings import Settings
from tests.pipeline import a_question, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
Home = Path


def examples_of_clients() -> list[str]:
    """The blocks of Python in both pages that use a client of the gateway."""
    pages = [(ROOT / page).read_text() for page in ("README.md", "producers/client/README.md")]
    blocks = [
        block for page in pages for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in blocks if "GatewayClient" in block]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The home of a running stack; taken down by the last test, or here if that did not come to it."""
    folder = tmp_path_factory.mktemp("stranger")
    started = headrace(folder / ".headrace", "up", "--detach", "--workers", "2")
    assert started.returncode == 0, started.stderr
    yield folder / ".headrace"
    headrace(folder / ".headrace", "down")


def headrace(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In the folder of that home, where nothing else lies; without a model of the shell's."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "ANTHROPIC_"))}
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=home.parent,
        env=ours,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def status_of(home: Path) -> dict[str, Any]:
    told = headrace(home, "status", "--json")
    assert told.returncode in {0, 1}, told.stderr  # 1: a part is unwell just now
    document: dict[str, Any] = json.loads(told.stdout)
    return document


def endpoints_of(home: Path) -> dict[str, str]:
    endpoints: dict[str, str] = json.loads((home / "endpoints.json").read_text())
    return endpoints


def test_status_tells_every_part_and_the_lag_in_the_promised_shape(home: Home) -> None:
    status = status_of(home)
    assert set(status) == {"parts", "lag"}
    assert all(set(part) == {"name", "kind", "pid", "address", "healthy"} for part in status["parts"])
    assert all(part["healthy"] is True and isinstance(part["pid"], int) for part in status["parts"])
    servers = {"kafka", "valkey", "postgres", "clickhouse", "rehearsal"}
    ours = {"worker-1", "worker-2", "sink-clickhouse", "sink-postgres", "gateway"}
    assert {part["name"] for part in status["parts"]} >= servers | ours
    assert {"llm.requests", "llm.requests.bulk", "llm.results"} <= status["lag"].keys()
    assert set(status["lag"].values()) == {0}


def test_every_endpoint_is_what_a_standard_client_takes(home: Home) -> None:
    endpoints = endpoints_of(home)
    found = AdminClient({"bootstrap.servers": endpoints["kafka"]}).list_topics(timeout=10).topics
    assert {topic.name for topic in TOPICS} <= found.keys()
    assert redis.Redis.from_url(endpoints["redis"]).ping()
    with psycopg.connect(endpoints["postgres"]) as lookups:
        assert lookups.execute("SELECT count(*) FROM requests").fetchone() is not None
    analysts = clickhouse_connect.get_client(dsn=endpoints["clickhouse"])
    assert analysts.query("SELECT 1").result_rows == [(1,)]
    with urllib.request.urlopen(f"{endpoints['model']}/healthz", timeout=5) as answer:  # noqa: S310 - loopback
        assert json.load(answer)["rehearsed"] is True


def test_a_submitted_request_is_answered_and_found_in_both_stores(home: Home) -> None:
    told = headrace(home, "submit", "Which VLAN is native on core-sw-07?", "--wait", "--json", "--tenant", "stranger")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert result["status"] == "completed"
    endpoints = endpoints_of(home)
    analysts = clickhouse_connect.get_client(dsn=endpoints["clickhouse"], database="headrace")
    wanted = {"id": result["request_id"]}
    count = "SELECT count() FROM results WHERE request_id = {id:UUID} AND status = 'completed'"
    until(lambda: analysts.query(count, parameters=wanted).result_rows == [(1,)])
    with psycopg.connect(endpoints["postgres"], autocommit=True) as lookups:
        row = "SELECT status, cost_usd::text FROM requests WHERE request_id = %(id)s"
        until(lambda: lookups.execute(row, wanted).fetchone() == ("completed", result["cost_usd"]))


def test_the_gateways_url_is_what_a_standard_client_takes(home: Home) -> None:
    place = next(part for part in status_of(home)["parts"] if part["kind"] == "gateway")
    url = endpoints_of(home)["gateway"]
    assert url.endswith(f"@{place['address']}")
    with httpx2.Client(base_url=url, trust_env=False, timeout=20) as client:
        accepted = client.post("/v1/requests", json={"prompt": "Which VLAN is native on core-sw-09?"})
        assert accepted.status_code == 202, accepted.text

        def is_completed() -> bool:
            told = client.get(accepted.headers["location"])
            assert told.status_code == 200, told.text
            return bool(told.json()["status"] == "completed")

        until(is_completed)
        told = client.get(accepted.headers["location"]).json()
        assert told["answer"]["text"]
        assert (told["source"], told["attempts"], told["lane"]) == ("model", 1, "interactive")
        assert float(told["cost_usd"]) > 0
        listed = client.get("/v1/requests", params={"status": "completed"}).json()["requests"]
        assert [each["request_id"] for each in listed] == [accepted.json()["request_id"]]


@pytest.mark.parametrize("example", examples_of_clients())
def test_the_examples_of_the_gateways_clients_run(home: Home, example: str) -> None:
    command = [sys.executable, "-c", example]
    ran = subprocess.run(command, cwd=home.parent, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "completed" in ran.stdout or "request_unknown" in ran.stdout
    assert "failed" not in ran.stdout


def test_a_second_up_is_refused_and_names_the_next_command(home: Home) -> None:
    refused = headrace(home, "up")
    assert refused.returncode == 1
    assert "headrace down" in refused.stderr
    assert "next: headrace" in refused.stderr


def test_a_worker_killed_in_a_bulk_run_loses_nothing(home: Home) -> None:
    requests = [a_question("killed") for _ in range(200)]
    killed: list[int] = []

    def kill_a_worker(books: BulkSummary) -> None:
        if not killed and books.results:
            killed.append(next(part["pid"] for part in status_of(home)["parts"] if part["name"] == "worker-1"))
            psutil.Process(killed[0]).kill()

    options = BulkOptions(timeout_seconds=90)
    summary = run_bulk(requests, Settings(home=home, **_endpoints_as_settings(home)), kill_a_worker, options)
    assert killed
    assert (summary.results, summary.failed, summary.unanswered) == (200, 0, 0)
    until(lambda: headrace(home, "status").returncode == 0, 60)
    assert killed[0] not in {part["pid"] for part in status_of(home)["parts"]}


def _endpoints_as_settings(home: Path) -> dict[str, Any]:
    return {name: value for name, value in endpoints_of(home).items() if name in {"kafka", "redis"}}


def test_down_leaves_no_process_and_a_second_one_finds_nothing(home: Home) -> None:
    sessions = _sessions(home)
    assert len(sessions) >= 9
    began = time.monotonic()
    down = headrace(home, "down")
    assert down.returncode == 0, down.stderr
    assert time.monotonic() - began < 60
    assert _of_sessions(sessions) == []
    again = headrace(home, "down")
    assert (again.returncode, again.stdout) == (0, "Nothing runs here.\n")
    assert headrace(home, "status").returncode == 3


def _sessions(home: Path) -> set[int]:
    """Each part leads a session of its own, and so does the supervisor."""
    state = json.loads((home / "state.json").read_text())
    return {state["supervisor"]["pid"], *(part["pid"] for part in status_of(home)["parts"])}


def _of_sessions(sessions: set[int]) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
