"""The benches measure on real servers; with so little to do their figures mean nothing, only their shape does."""

import psutil
import pytest

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
