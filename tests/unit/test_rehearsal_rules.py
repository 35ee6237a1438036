"""The rehearsal's pure rules: latency, limits, faults, answers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.rehearsal.answers import answer_to
from ops.rehearsal.faults import FaultScript
from ops.rehearsal.latency import latency_seconds
from ops.rehearsal.limits import Demand, RateLimiter
from ops.rehearsal.settings import FaultRule, LatencyDistribution, Limits


def test_latencies_have_the_median_and_the_95th_percentile_that_were_set() -> None:
    setting = LatencyDistribution(median=0.8, p95=2.0)
    drawn = sorted(latency_seconds(setting, seed * 7919) for seed in range(10_000))
    assert drawn[5_000] == pytest.approx(0.8, rel=0.05)
    assert drawn[9_500] == pytest.approx(2.0, rel=0.05)
    assert drawn[-1] <= 10.0


def test_the_same_request_takes_the_same_time() -> None:
    setting = LatencyDistribution(median=0.8, p95=2.0)
    assert latency_seconds(setting, 42) == latency_seconds(setting, 42) != latency_seconds(setting, 43)
    assert latency_seconds(0.25, 42) == 0.25


@given(
    amounts=st.lists(st.integers(1, 50), min_size=1, max_size=50), per_minute=st.integers(60, 6000), burst=st.just(60.0)
)
def test_no_bucket_gives_more_than_it_holds_and_refills(amounts: list[int], per_minute: int, burst: float) -> None:
    limiter = RateLimiter(Limits(input_tokens_per_minute=per_minute, burst_seconds=burst), 0.0)
    granted = sum(amount for at, amount in enumerate(amounts) if limiter.admit(Demand(amount, 1), at * 0.1) == 0)
    assert granted <= per_minute + per_minute * len(amounts) * 0.1 / 60


def test_the_wait_that_is_named_is_enough() -> None:
    limiter = RateLimiter(Limits(requests_per_minute=60, burst_seconds=1), 0.0)
    assert limiter.admit(Demand(1, 1), 0.0) == 0
    wait = limiter.admit(Demand(1, 1), 0.0)
    assert wait == pytest.approx(1.0)
    assert limiter.admit(Demand(1, 1), wait) == 0


@given(share=st.floats(0, 1), calls=st.integers(1, 200))
def test_a_share_hits_that_many_of_any_run_of_calls(share: float, calls: int) -> None:
    script = FaultScript.of([FaultRule(status=500, share=share)])
    hits = sum(script.next_fault("m", "p", "") is not None for _ in range(calls))
    assert abs(hits - share * calls) <= 1


def test_the_first_rule_that_fires_decides() -> None:
    script = FaultScript.of([FaultRule(status=429, count=1), FaultRule(status=529)])
    faults = [script.next_fault("m", "p", "") for _ in range(3)]
    assert [fault.status for fault in faults if fault] == [429, 529, 529]


def test_a_longer_max_tokens_only_adds_text() -> None:
    prompt = "Device: edge-1\n\nRequirements:\nVLANs 10-40 on Gi0/1 and Gi0/2\n"
    answers = [answer_to(prompt, max_tokens) for max_tokens in (1, 10, 50, 1000)]
    for (shorter, _, few), (longer, _, more) in pairwise(answers):
        assert longer.startswith(shorter)
        assert few < more
    assert [stop_reason for _, stop_reason, _ in answers] == ["max_tokens"] * 3 + ["end_turn"]


@given(requirements=st.text(max_size=2000))
def test_any_requirements_give_a_configuration(requirements: str) -> None:
    text, _, _ = answer_to(f"Device: edge-1\n\nRequirements:\n{requirements}", 4096)
    assert "hostname edge-1" in text.splitlines()
