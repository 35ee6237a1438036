"""What limits a model family: presets, settings, headers; and what a call is thought to take."""

import pytest

from streams.limits.estimates import Estimates
from streams.limits.headers import seen_in
from streams.limits.presets import configured_for, family_of
from streams.limits.rates import Rates

MODEL = "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-opus-4-8", "claude-opus-4"),
        ("claude-opus-4-5-20251101", "claude-opus-4"),
        ("claude-opus-5", "claude-opus-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-fable-5-2", "claude-fable-5"),
        ("claude-haiku-5-5", "claude-haiku-5-5"),
        ("a-model-of-tomorrow", "a-model-of-tomorrow"),
    ],
)
def test_models_that_share_a_limit_are_one_family(model: str, family: str) -> None:
    assert family_of(model) == family


def test_explicit_numbers_come_before_a_tier_and_are_caps() -> None:
    configured = configured_for("claude-fable-5", "scale", Rates(requests=10))
    assert configured.corrected(Rates(requests=4000)) == Rates(requests=10)
    assert configured.corrected(Rates(requests=5)) == Rates(requests=5)


def test_a_tier_holds_until_the_api_says_otherwise() -> None:
    configured = configured_for("claude-fable-5", "start", Rates())
    assert configured.corrected(Rates()) == Rates(1000, 500_000, 100_000)
    assert configured.corrected(Rates(requests=2000)) == Rates(2000, 500_000, 100_000)


def test_without_settings_nothing_limits_before_the_first_answer() -> None:
    assert configured_for("claude-haiku-5-5", None, Rates()).corrected(Rates()) == Rates()


def test_headers_that_make_no_sense_say_nothing() -> None:
    assert seen_in({}, 0.0) is None
    assert seen_in({"anthropic-ratelimit-requests-limit": "many"}, 0.0) is None
    assert seen_in({"anthropic-ratelimit-requests-limit": "0"}, 0.0) is None
    assert seen_in({"anthropic-ratelimit-requests-limit": "nan"}, 0.0) is None


def test_headers_tell_limits_and_what_remains() -> None:
    told = {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-input-tokens-remaining": "0"}
    seen = seen_in(told, 7.0)
    assert seen is not None
    assert (seen.limits, seen.remaining) == (Rates(requests=50), Rates(input_tokens=0))


def test_before_the_first_answer_a_call_is_thought_to_take_all_it_may() -> None:
    assert Estimates().output_tokens(MODEL, 4096) == 4096


def test_estimates_follow_what_calls_take_and_stay_above_it() -> None:
    estimates = Estimates()
    for number in range(200):
        estimates.learn(MODEL, 3600, 1000, 100 + 20 * (number % 2))
    assert 980 <= estimates.input_tokens(MODEL, 3600) <= 1030
    assert 110 <= estimates.output_tokens(MODEL, 4096) <= 140
    assert estimates.output_tokens(MODEL, 50) == 50
    assert estimates.output_tokens("another", 4096) == 4096
