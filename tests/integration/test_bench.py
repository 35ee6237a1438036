"""The benches measure on real servers; with so little to do their figures mean nothing, only their shape does."""

import psutil
import pytest

from ops.bench import gateway, gateway_bulk, gateway_sse, gateway_wait, slow_model, uncached, wrk
from ops.bench.fleet import run_fleet
from ops.bench.hits import Size, run


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_hits_reports_its_bars_and_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    report = run(1, Size(records=3_000, warm_up=100, latency_seconds=0.5))
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


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(not wrk.is_installed(), reason="the load is wrk's; on Debian: apt-get install wrk")
def test_gateway_is_measured_without_a_failed_answer() -> None:
    report = gateway.run(1, gateway.Size(seconds=1, warm_up_seconds=0.5, connections=(4,), rows=2_000))
    values = {bar.name: bar.value for bar in report.bars}
    assert values["gateway_failed_answers"] == 0
    assert values["gateway_submit_per_second"] > 0
    assert values["gateway_status_p99_ms"] > 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_bulk_uploads_and_streams_are_measured_whole() -> None:
    bulk = gateway_bulk.run(1, gateway_bulk.Size(items=3000))
    assert [row["items"] for row in bulk.rows] == [3000, 3000]
    assert bulk.bars[0].value > 0
    streams = gateway_sse.run(gateway_sse.Size(subscribers=40, results=5, pace_per_second=50))
    assert streams.ok
    assert streams.rows[0]["deliveries"] == 200


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_waits_on_hits_are_answered_in_place_by_the_shared_cache() -> None:
    report = gateway_wait.run(1, gateway_wait.Size(calls=20, warm_up=5))
    assert [bar.name for bar in report.bars] == ["gateway_wait_p50_ms"]
    assert 0 < report.rows[0]["wait_p50_ms"] <= report.rows[0]["wait_p99_ms"]
    assert report.rows[0]["submit_p50_ms"] > 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_is_in_no_cache_is_measured_beside_a_bare_client() -> None:
    report = uncached.run(1, slow_model.Size(requests=600, in_flight=100, latency_seconds=0.0))
    assert [bar.name for bar in report.bars] == ["uncached_per_second"]
    assert 0 < report.rows[0]["worker_per_second"] < report.rows[0]["bare_per_second"]
