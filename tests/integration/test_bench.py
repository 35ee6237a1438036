"""The benches measure on real servers; with so little to do their figures mean nothing, only their shape does."""

import psutil
import pytest

from ops.bench.fleet import run_fleet
from ops.bench.hits import Size, run


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_hits_reports_its_bars_and_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    report = run(1, Size(records=600, warm_up=100, latency_seconds=0.5))
    assert [bar.name for bar in report.bars] == ["hits_ratio", "hits_p99_ms"]
    assert all(bar.value > 0 for bar in report.bars)
    assert report.rows[0]["worker_cpu_seconds_per_1000"] > 0
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_fleet_pays_less_than_asking_for_every_request_and_gives_the_same_answers() -> None:
    report = run_fleet(lines=150)
    assert [bar.name for bar in report.bars][1:] == ["fleet_wrong_answers", "fleet_answers_unlike_the_models"]
    assert [bar.value for bar in report.bars[1:]] == [0, 0]
    cached, baseline = report.rows
    assert cached["calls"] < baseline["calls"] == 150
