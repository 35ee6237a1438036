import json
from pathlib import Path
from typing import Any

import pytest

from ops.bulk_run import BulkOptions, BulkSummary, run_bulk
from ops.cli import run
from ops.topics import apply_topics
from producers.building import request_from
from schemas.topics import BULK_REQUESTS, REQUESTS
from streams.settings import Settings
from tests.answering_thread import answering


@pytest.fixture
def broker(kafka: str, monkeypatch: pytest.MonkeyPatch) -> str:
    apply_topics(kafka)
    monkeypatch.setenv("HEADRACE_KAFKA", kafka)
    return kafka


def a_line(prompt: str, **fields: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": prompt}], **fields})


def summary_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(capsys.readouterr().out)
    return summary


def test_the_engine_follows_every_request_to_its_result(broker: str) -> None:
    requests = [request_from({"tenant": "acme", "prompt": str(number)}) for number in range(1200)]
    told: list[int] = []
    with answering(broker, BULK_REQUESTS):
        summary = run_bulk(
            requests, Settings(), lambda books: told.append(books.results), BulkOptions(timeout_seconds=30)
        )
    assert isinstance(summary, BulkSummary)
    assert (summary.published, summary.results, summary.unanswered) == (1200, 1200, 0)
    assert (str(summary.cost_usd), told[-1]) == ("12.00", 1200)


def test_a_file_is_run_to_its_summary_with_its_bad_lines_told(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, results = tmp_path / "file.jsonl", tmp_path / "out.jsonl"
    lines = [a_line("one"), "{", a_line("two", labels={"known": "1"}), a_line("three", labels={"failing": "1"})]
    file.write_text("\n".join(lines))
    with answering(broker, BULK_REQUESTS):
        code = run(["bulk", "run", str(file), "--json", "--results", str(results), "--timeout-seconds", "30"])
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert code == 4
    assert "line 2 rejected: not valid JSON" in told.err
    counted = {"published": 3, "results": 3, "failed": 1, "hits": 1, "rejected_lines": 1, "unanswered": 0}
    assert summary | counted == summary
    assert (summary["cost_usd"], summary["saved_usd"]) == (0.02, 0.01)
    assert len(results.read_text().splitlines()) == 3


def test_a_resumed_run_asks_nothing_twice_and_counts_what_came_meanwhile(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.jsonl"
    file.write_text("\n".join(a_line(str(number)) for number in range(10)))
    with answering(broker, BULK_REQUESTS, at_most=4) as taken:
        assert run(["bulk", "run", str(file), "--json", "--timeout-seconds", "3"]) == 4
        assert summary_of(capsys)["unanswered"] == 6
        assert run(["bulk", "run", str(file)]) == 2
        assert "--resume" in capsys.readouterr().err
        assert run(["bulk", "run", str(file), "--json", "--resume", "--timeout-seconds", "2"]) == 4
        assert len(taken) == 10
    summary = summary_of(capsys)
    assert (summary["published"], summary["results"], summary["unanswered"]) == (10, 4, 6)


def test_a_run_cut_before_it_was_written_down_uses_the_same_ids_again(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.csv"
    file.write_text("device_name,requirements\nr1,vlan 10\nr2,vlan 20\n")
    with answering(broker, BULK_REQUESTS) as taken:
        assert run(["bulk", "run", str(file), "--timeout-seconds", "20"]) == 0
        journal = tmp_path / "fleet.csv.headrace-run.json"
        journal.write_text(json.dumps({**json.loads(journal.read_text()), "published": 0, "finished": False}))
        assert run(["bulk", "run", str(file), "--resume", "--timeout-seconds", "20"]) == 0
    assert len(taken) == 4
    assert len({request.request_id for request in taken}) == 2
    assert "2 published, 2 results" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["no-such-file.jsonl"], 3, "no file"),
        (["file.csv"], 2, "lacks requirements"),
        (["file.csv", "--resume"], 3, "no earlier run"),
        (["file.csv", "--lane", "fast"], 2, "--lane"),
    ],
)
def test_a_run_that_cannot_begin_says_why(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    assert broker
    (tmp_path / "file.csv").write_text("device_name\nr1\n")
    assert run(["bulk", "run", str(tmp_path / arguments[0]), *arguments[1:]]) == code
    assert told in capsys.readouterr().err


def test_submit_waits_for_the_answer_and_prints_it(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(broker, REQUESTS) as taken:
        options = ["--tenant", "acme", "--user", "u1", "--label", "site=b1", "--no-cache", "--deadline-seconds", "60"]
        assert run(["submit", "what", "is", "it", *options, "--wait", "--timeout-seconds", "20"]) == 0
    assert capsys.readouterr().out == "the answer\n"
    (request,) = taken
    assert request.messages is not None
    assert (request.messages[0].content, request.cache.mode, request.labels) == ("what is it", "bypass", {"site": "b1"})


def test_submit_by_template_says_what_is_missing(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert broker
    assert run(["submit", "--template", "network-config@1", "--var", "device_name=r1"]) == 2
    assert "requirements" in capsys.readouterr().err


def test_watch_shows_results_without_their_answers(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(broker, REQUESTS):
        assert run(["submit", "hello", "--tenant", "watched", "--wait", "--timeout-seconds", "20"]) == 0
    capsys.readouterr()
    ending = ["--tenant", "watched", "--since", "5m", "--count", "1", "--idle-seconds", "10"]
    assert run(["watch", "--json", *ending]) == 0
    told = capsys.readouterr().out
    assert json.loads(told)["tenant"] == "watched"
    assert "the answer" not in told
    assert run(["watch", *ending]) == 0
    assert "watched\tcompleted\tmodel" in capsys.readouterr().out
    assert run(["watch", "--answers", *ending]) == 0
    assert "the answer" in capsys.readouterr().out


def test_topics_diff_names_what_differs_and_exits_1(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert broker
    assert run(["topics", "diff"]) == 0
    assert run(["topics", "diff", "--replication", "3"]) == 1
    assert "llm.requests  replication: have 1, want 3" in capsys.readouterr().out
