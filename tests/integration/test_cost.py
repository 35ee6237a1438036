"""Money told from the real ClickHouse: reports, estimates, alerts; and the question before an expensive run."""

import csv
import io
import json
import urllib.parse
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ops.cli import run
from ops.local.model_checks import model_checks
from ops.migrations.apply import migrate_clickhouse
from ops.topics import apply_topics
from producers.uuid7 import uuid7
from schemas.fingerprint import fingerprint_of
from schemas.result import PromptResult, Timing
from schemas.topics import BULK_REQUESTS
from streams.cache.port import cache_key_of
from streams.settings import Settings
from streams.sinks.clickhouse_store import ClickHouseStore
from tests.answering_thread import answering
from tests.builders import MODEL, an_entry
from tests.sinks import a_batch, a_result
from tests.unit.events import a_request

NOW = datetime.now(UTC)
NOWHERE = "http://127.0.0.1:9"

Capture = pytest.CaptureFixture[str]
Keep = Callable[..., None]


def spent(minutes_ago: float = 5, seconds: float = 1.0, **given: Any) -> PromptResult:
    """One paid answer, unless told otherwise."""
    completed = NOW - timedelta(minutes=minutes_ago)
    accepted = completed - timedelta(seconds=seconds)
    timing = Timing(accepted_at=accepted, started_at=accepted, completed_at=completed)
    fields: dict[str, Any] = {"model": MODEL, "cost_usd": "0.01", "saved_usd": "0", "timing": timing}
    fields["usage"] = {"input_tokens": 300, "output_tokens": 100}
    return a_result(uuid7(), **(fields | given))


def a_hit(**given: Any) -> PromptResult:
    return spent(**({"source": "shared_cache", "cost_usd": "0", "saved_usd": "0.01", "usage": {}} | given))


@pytest.fixture
def keep(clickhouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Puts results into a database of this test alone, which is the one the commands ask."""
    place = urllib.parse.urlsplit(clickhouse_url)._replace(path=f"/cost_{uuid4().hex}").geturl()
    migrate_clickhouse(place)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", place)
    monkeypatch.setenv("HEADRACE_REDIS", "redis://127.0.0.1:9/0")

    def write(*results: PromptResult) -> None:
        store = ClickHouseStore(place)
        store.write(a_batch(store, results))
        store.close()

    return write


def told(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    assert run(["cost", *arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_report_adds_up_each_group_once_and_the_most_expensive_first(keep: Keep, capsys: Capture) -> None:
    twice = spent(department="netops", cost_usd="0.02")
    keep(twice, a_hit(department="netops"), a_hit(department="netops"), spent(department="audit"))
    keep(twice, a_hit())
    found = told(capsys, "report")
    assert [group["department"] for group in found["groups"]] == ["netops", "audit", None]
    netops = found["groups"][0]
    assert (netops["requests"], netops["hits"], netops["hit_share"]) == (3, 2, pytest.approx(2 / 3))
    assert (netops["cost_usd"], netops["saved_usd"], netops["uncached_usd"]) == (0.02, 0.02, 0.04)
    assert (netops["input_tokens"], netops["output_tokens"], netops["p95_ms"]) == (300, 100, 1000)
    assert (found["total"]["requests"], found["total"]["cost_usd"], found["total"]["saved_usd"]) == (5, 0.03, 0.03)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("tenant", ["meridian"]),
        ("user", ["ann", "bob"]),
        ("application", ["portal"]),
        ("model", [MODEL]),
        ("template", ["network-config@1"]),
        ("day", sorted({(NOW - timedelta(minutes=minutes)).date().isoformat() for minutes in (1500, 5)})),
    ],
)
def test_every_dimension_groups_by_its_own_column(keep: Keep, capsys: Capture, by: str, names: list[str]) -> None:
    shared: dict[str, Any] = {"application": "portal", "template": "network-config@1"}
    keep(spent(user_id="ann", cost_usd="0.05", **shared), spent(user_id="bob", minutes_ago=1500, **shared))
    assert [group[by] for group in told(capsys, "report", "--by", by)["groups"]] == names


def test_since_and_tenant_leave_out_the_rest_and_top_tells_what_it_cuts(keep: Keep, capsys: Capture) -> None:
    keep(spent(tenant="one"), spent(tenant="two"), spent(tenant="one", minutes_ago=300))
    assert told(capsys, "report", "--since", "1h", "--tenant", "one")["total"]["requests"] == 1
    assert told(capsys, "report", "--tenant", "one' OR 'a'='a")["total"] is None
    cut = told(capsys, "report", "--by", "tenant", "--top", "1")
    assert (len(cut["groups"]), cut["more"], cut["total"]["requests"]) == (1, True, 3)


def test_an_unknown_price_is_told_and_is_no_zero(keep: Keep, capsys: Capture) -> None:
    keep(spent(department="lab", cost_usd=None), spent(department="audit"))
    groups = {group["department"]: group for group in told(capsys, "report")["groups"]}
    assert (groups["lab"]["cost_usd"], groups["lab"]["unpriced"]) == (None, 1)
    assert run(["cost", "report"]) == 0
    assert "* 1 requests of unknown price are in no sum" in capsys.readouterr().out


def test_the_table_fits_80_columns_and_the_csv_starts_no_formula(keep: Keep, capsys: Capture) -> None:
    name = "=HYPERLINK(\x1b[2J) of a department with a name as long as nobody would like to read in a table"
    busy: dict[str, Any] = {"cost_usd": "123456.789", "saved_usd": "999.99", "usage": {"input_tokens": 10**12}}
    keep(spent(department=name, seconds=5000, **busy), spent(department="[bold]"), spent(cost_usd=None))
    assert run(["cost", "report"]) == 0
    table = capsys.readouterr().out
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "\x1b" not in table
    assert table.splitlines()[0].split()[-2:] == ["p50", "p95"]
    assert "[bold]" in table
    assert run(["cost", "report", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["department"], row["cost_usd"]) for row in rows] == [
        (f"'{name}", "123456.789"),
        ("[bold]", "0.01"),
        ("", ""),
    ]


def test_a_plot_is_a_picture(keep: Keep, capsys: Capture, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs: pip install headrace[plot]")
    keep(spent(department="netops $5"), a_hit(department="audit"))
    for by in ("department", "day"):
        assert run(["cost", "report", "--by", by, "--plot", str(tmp_path / f"{by}.png")]) == 0
        assert (tmp_path / f"{by}.png").read_bytes().startswith(b"\x89PNG")
    assert run(["cost", "report", "--plot", str(tmp_path / "no" / "out.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "code"), [(["--by", "planet"], 2), (["--since", "soon"], 2), ([], 1)])
def test_a_report_that_cannot_be_made_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], code: int
) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", NOWHERE)
    assert run(["cost", "report", *arguments]) == code
    assert "next: headrace" in capsys.readouterr().err


def a_file(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "file.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def configuring(device: str, requirements: str, **given: Any) -> dict[str, Any]:
    variables = {"device_name": device, "requirements": requirements}
    return {"tenant": "meridian", "template": "network-config@1", "variables": variables, **given}


async def test_an_estimate_asks_the_cache_and_learns_from_recent_calls(
    keep: Keep, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import asyncio

    from redis.asyncio import Redis

    from ops.cost.file import estimate_file
    from streams.settings import Settings

    keep(*(spent(template="network-config@1") for _ in range(6)))
    known = configuring("ams-01-acc-01", f"vlan {uuid4().int % 4000}")
    file = a_file(tmp_path, known, known, configuring("ams-01-acc-02", "ntp 10.0.0.1"), {"prompt": "x", "model": "odd"})
    monkeypatch.setenv("HEADRACE_REDIS", redis_url)
    key = cache_key_of("meridian", fingerprint_of(a_request(**known), MODEL))
    redis = Redis.from_url(redis_url)
    await redis.set(key, an_entry(expires_at=datetime.now(UTC) + timedelta(hours=1)).to_bytes(), ex=60)
    await redis.aclose()
    found = (await asyncio.to_thread(estimate_file, file, "default", Settings())).as_json()
    counted = {"lines": 4, "valid": 4, "distinct_keys": 3, "cached": 1, "expected_calls": 2, "guessed_calls": 1}
    assert found | counted == found
    assert found["output_tokens"] == 100 + 512
    assert (found["unpriced_calls"], found["unpriced_models"]) == (1, ["odd"])
    assert found["calls_per_second"] == pytest.approx(0.1)
    assert found["seconds"] == pytest.approx(20)


def test_without_cache_and_clickhouse_an_estimate_says_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", NOWHERE)
    monkeypatch.setenv("HEADRACE_REDIS", "redis://127.0.0.1:9/0")
    file = a_file(tmp_path, {"prompt": "a"}, {"prompt": "a"}, {"nothing": 1})
    found = told(capsys, "estimate", str(file))
    counted = {"lines": 3, "valid": 2, "rejected": 1, "distinct_keys": 1, "cached": None, "seconds": None}
    assert found | counted == found
    assert 0 < found["expected_usd"] < found["at_most_usd"]
    assert run(["cost", "estimate", str(file)]) == 0
    assert "already cached      unknown" in capsys.readouterr().out


def test_a_check_tells_spikes_lost_hits_and_unknown_prices(keep: Keep, capsys: Capture, tmp_path: Path) -> None:
    keep(*(spent(minutes_ago=90 + 60 * hour) for hour in range(24)))
    calm = told(capsys, "check")
    assert (calm["alerts"], calm["last_hour_usd"], calm["hit_share"]) == ([], 0.0, None)
    assert calm["usual_hour_usd"] == pytest.approx(0.01, rel=0.05)
    keep(*(spent() for _ in range(25)), spent(cost_usd=None))
    textfile = tmp_path / "cost.prom"
    found = told(capsys, "check", "--textfile", str(textfile), code=1)
    assert [alert["name"] for alert in found["alerts"]] == ["spend_spike", "hit_share_drop", "unknown_price"]
    assert 'headrace_cost_alert{alert="spend_spike"} 1' in textfile.read_text()
    assert run(["cost", "check", "--spike-factor", "100", "--min-hit-share", "0"]) == 1
    assert "unknown_price" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_run_that_is_not_confirmed_publishes_and_writes_nothing(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path, answer: str
) -> None:
    del keep
    monkeypatch.setenv("HEADRACE_KAFKA", "127.0.0.1:9")
    monkeypatch.setenv("HEADRACE_CONFIRM_ABOVE_USD", "0.0001")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    file = a_file(tmp_path, {"prompt": "a"})
    assert run(["bulk", "run", str(file)]) == 1
    err = capsys.readouterr().err
    assert "Publish? [y/N]" in err
    assert "expected cost" in err
    assert "nothing was published" in err
    assert [path.name for path in tmp_path.iterdir()] == ["file.jsonl"]


def test_a_pipe_is_asked_where_told_to_and_an_unknown_price_is_above_every_threshold(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    del keep
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    file = a_file(tmp_path, {"prompt": "a", "model": "odd"})
    assert run(["bulk", "run", str(file), "--confirm-above", "99"]) == 1
    assert "expected cost       unknown" in capsys.readouterr().err


def test_a_cheap_run_is_published_unasked_and_a_confirmed_one_after_its_yes(
    kafka: str, keep: Keep, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    del keep
    apply_topics(kafka)
    monkeypatch.setenv("HEADRACE_KAFKA", kafka)
    file = a_file(tmp_path, {"prompt": "a"})
    with answering(kafka, BULK_REQUESTS) as taken:
        for stdin, options in ((Terminal(), []), (Terminal("y\n"), ["--confirm-above", "0"]), (Terminal(), ["--yes"])):
            monkeypatch.setattr("sys.stdin", stdin)
            assert run(["bulk", "run", str(file), "--timeout-seconds", "20", *options]) == 0
    assert len(taken) == 3
    assert capsys.readouterr().err.count("Publish?") == 1


def test_the_doctor_looks_at_the_models_that_answered_in_the_last_day(keep: Keep) -> None:
    keep(spent(), a_hit(model="claude-sonnet-4-5"), spent(model="claude-sonnet-4-5", minutes_ago=1500))
    _, seen = model_checks(Settings(), date(2026, 11, 25))
    assert (seen.name, seen.ok) == ("models seen", False)
    assert seen.detail == "claude-sonnet-4-5 ends on 2026-11-30 (by the installed SDK)"
    assert "cost report" in seen.fix
