"""What calls cost, against the price library's own calculation."""

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.result import Usage
from streams.model.prices import PriceBook, ceiling_usd, cost_usd, load_overrides

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKENS = st.integers(0, 300_000)


@given(
    model=st.sampled_from(["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-2"]),
    usage=st.builds(
        Usage, input_tokens=TOKENS, output_tokens=TOKENS, cache_read_tokens=TOKENS, cache_write_tokens=TOKENS
    ),
)
def test_cost_equals_the_price_library_whose_input_includes_cached_tokens(model: str, usage: Usage) -> None:
    theirs = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    expected = genai_prices.calc_price(theirs, model, provider_id="anthropic", genai_request_timestamp=NOW)
    assert cost_usd(model, usage, NOW) == expected.total_price


def test_a_published_price_is_met_to_the_last_digit() -> None:
    assert cost_usd("claude-opus-5-5", Usage(input_tokens=1_000, output_tokens=500), NOW) == Decimal("0.014")


def test_an_unknown_model_has_no_price_rather_than_a_false_zero() -> None:
    assert cost_usd("claude-nobody-9", Usage(input_tokens=1), NOW) is None
    assert cost_usd("gpt-4o", Usage(input_tokens=1), NOW) is None


def test_a_dated_id_has_the_price_of_its_model() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    assert cost_usd("claude-haiku-4-5-20251001", usage, NOW) == cost_usd("claude-haiku-4-5", usage, NOW)


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-4-5"])
def test_what_is_kept_for_an_hour_costs_twice_the_input(model: str) -> None:
    for_an_hour = Usage(cache_write_tokens=1_000, cache_write_1h_tokens=1_000)
    assert cost_usd(model, for_an_hour, NOW) == cost_usd(model, Usage(input_tokens=2_000), NOW)
    half = Usage(cache_write_tokens=2_000, cache_write_1h_tokens=1_000)
    both = [cost_usd(model, part, NOW) or Decimal(0) for part in (for_an_hour, Usage(cache_write_tokens=1_000))]
    assert cost_usd(model, half, NOW) == sum(both)


def an_override(since: str, rate: str) -> str:
    return f'{{"model": "m", "from": "{since}", "input": {rate}, "output": "2", "cache_read": "0", "cache_write": "0"}}'


def test_an_override_holds_from_its_day_until_the_next_one() -> None:
    entries = [an_override("2026-11-10", '"3"'), an_override("2026-11-01", '"1"')]
    book = PriceBook(load_overrides(f'{{"prices": [{", ".join(entries)}]}}'))
    million = Usage(input_tokens=1_000_000)
    days = {day: book.cost_usd("m", million, datetime(2026, *day, tzinfo=UTC)) for day in [(10, 31), (11, 1), (11, 10)]}
    assert days == {(10, 31): None, (11, 1): Decimal(1), (11, 10): Decimal(3)}


def test_an_override_may_depend_on_the_length_of_the_prompt() -> None:
    tiered = '{"base": "1", "tiers": [{"above_input_tokens": 100, "rate": "5"}]}'
    book = PriceBook(load_overrides(f'{{"prices": [{an_override("2026-01-01", tiered)}]}}'))
    assert book.cost_usd("m", Usage(input_tokens=100), NOW) == Decimal("0.0001")
    assert book.cost_usd("m", Usage(input_tokens=100, cache_read_tokens=1), NOW) == Decimal("0.0005")


def test_a_malformed_override_is_refused() -> None:
    with pytest.raises(ValueError, match="input"):
        load_overrides('{"prices": [{"model": "m", "from": "2026-01-01", "input": "-1"}]}')


def test_the_ceiling_of_a_known_model_is_its_price() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=500)
    assert PriceBook().ceiling_usd("claude-opus-5-5", usage, NOW) == cost_usd("claude-opus-5-5", usage, NOW)


@given(usage=st.builds(Usage, input_tokens=TOKENS, output_tokens=st.integers(1, 128_000)))
def test_a_call_of_unknown_price_may_cost_what_the_dearest_known_one_costs(usage: Usage) -> None:
    ceiling = ceiling_usd("claude-nobody-9", usage)
    models = ("claude-haiku-5-5", "claude-opus-5-5", "claude-fable-5-1")
    assert all(ceiling >= ceiling_usd(model, usage) > 0 for model in models)
