"""What `headrace bench` says and how it ends; the measuring itself is tried in tests/integration/test_bench.py."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from ops.bench import (
    fairness,
    fleet,
    gateway,
    gateway_bulk,
    gateway_sse,
    gateway_wait,
    hits,
    limits,
    sinks,
    slow_model,
    uncached,
)
from ops.bench.pace import Sample, cpu_seconds_per_1000, percentile, steady_rate
from ops.bench.questions import a_request, number_of
from ops.bench.report import Bar, Report, merged
from ops.cli import run

MET = Bar("hits_ratio", 0.9, 0.7)
MISSED = Bar("hits_p99_ms", 120, 100, at_least=False)

BENCHES: dict[str, ModuleType] = {
    "hits": hits,
    "slow-model": slow_model,
    "uncached": uncached,
    "sinks": sinks,
    "fleet": fleet,
    "savings": fleet,
    "limits": limits,
    "fairness": fairness,
    "gateway": gateway,
    "gateway-bulk": gateway_bulk,
    "gateway-streams": gateway_sse,
    "gateway-wait": gateway_wait,
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let every bench report these bars without measuring."""

    def report(*bars: Bar) -> None:
        for name, bench in BENCHES.items():
            made = Report(name, list(bars), [{"round": 1, "ratio": 0.9}], ["Rehearsed."])
            entry = f"run_{name}" if bench is fleet else "run"
            monkeypatch.setattr(bench, entry, lambda *_, made=made: made)

    return report


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_target_is_a_least_or_a_most() -> None:
    assert Bar("ratio", 0.7, 0.7).ok
    assert not Bar("ratio", 0.69, 0.7).ok
    assert Bar("p99_ms", 100, 100, at_least=False).ok
    assert not Bar("p99_ms", 100.1, 100, at_least=False).ok


def test_met_bars_end_well(measured: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    measured(MET)
    assert run(["bench", "hits", "--json"]) == 0
    assert printed(capsys)["bars"] == [{"name": "hits_ratio", "value": 0.9, "target": 0.7, "ok": True}]


def test_one_missed_bar_ends_in_an_error(measured: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    measured(MET, MISSED)
    assert run(["bench", "slow-model", "--json"]) == 1
    assert [bar["ok"] for bar in printed(capsys)["bars"]] == [True, False]


def test_all_is_one_object_whose_rows_name_their_bench(
    measured: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(MET)
    assert run(["bench", "all", "--json"]) == 0
    told = printed(capsys)
    assert [row["bench"] for row in told["rows"]] == list(BENCHES)
    assert len(told["bars"]) == len(BENCHES)
    assert told["machine"]["cores"] >= 1


def test_people_get_a_table_with_the_verdict(measured: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    measured(MET, MISSED)
    assert run(["bench", "hits"]) == 1
    shown = capsys.readouterr().out
    assert "missed" in shown
    assert "<= 100" in shown
    assert "ratio" in shown


def test_one_report_is_left_as_it_is() -> None:
    report = Report("hits", [MET])
    assert merged([report]) is report


def test_a_steady_rate_leaves_out_both_ends() -> None:
    waves = [0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 6.0, 6.0]
    assert steady_rate(waves, skip_first=2, skip_last=1) == pytest.approx(4 / 4)
    assert steady_rate([float(second) for second in range(11)], skip_first=5) == pytest.approx(1)


def test_cpu_is_counted_over_the_same_part() -> None:
    samples = [Sample(0, 5.0, 1), Sample(100, 6.0, 1), Sample(600, 7.0, 1), Sample(700, 9.0, 1)]
    assert cpu_seconds_per_1000(samples, skip_first=100, skip_last=100) == pytest.approx(2.0)


def test_cpu_is_counted_too_where_all_was_done_between_two_looks() -> None:
    samples = [Sample(0, 5.0, 1), Sample(0, 5.1, 1), Sample(600, 5.4, 1)]
    assert cpu_seconds_per_1000(samples, skip_first=100) == pytest.approx(0.5)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([float(number) for number in range(100)], 0.99) == 98
    assert percentile([7], 0.99) == 7


@pytest.mark.parametrize("prompt_bytes", [100, 400, 4000])
def test_a_request_has_the_exact_size_and_is_found_again_by_its_id(prompt_bytes: int) -> None:
    request = a_request(31_999, prompt_bytes)
    assert request.messages is not None
    assert len(str(request.messages[0].content).encode()) == prompt_bytes
    assert number_of(str(request.request_id).encode()) == 31_999


def test_requests_ask_different_things_unless_told_otherwise() -> None:
    asked = {str(a_request(number, 100).messages) for number in range(50)}
    assert len(asked) == 50
    assert a_request(7, 100, question=3).messages == a_request(3, 100).messages
