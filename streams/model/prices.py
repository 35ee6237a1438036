"""What a call costs: the genai-prices snapshot, overridden by `prices.json`; an unknown model has no price."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Final

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Tier, TieredPrices, calc_unit_price
from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.result import Usage

_PER_MILLION: Final = 1_000_000
_PROVIDER: Final = "anthropic"
Rate = Decimal | TieredPrices


class OverrideTier(BaseModel):
    """The rate for every token of a call whose prompt is longer than `above_input_tokens`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above_input_tokens: Annotated[int, Field(ge=0)]
    rate: Annotated[Decimal, Field(ge=0)]


class OverrideRate(BaseModel):
    """A rate that depends on the length of the prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Annotated[Decimal, Field(ge=0)]
    tiers: list[OverrideTier] = []

    def as_rate(self) -> Rate:
        tiers = sorted(self.tiers, key=lambda tier: tier.above_input_tokens)
        return TieredPrices(self.base, [Tier(tier.above_input_tokens, tier.rate) for tier in tiers])


class Override(BaseModel):
    """One entry of `prices.json`: USD per million tokens of `model` from the UTC day `from` on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    since: Annotated[date, Field(alias="from")]
    input: OverrideRate
    output: OverrideRate
    cache_read: OverrideRate
    cache_write: OverrideRate
    cache_write_1h: OverrideRate | None = None

    @field_validator("input", "output", "cache_read", "cache_write", "cache_write_1h", mode="before")
    @classmethod
    def _flat_rate(cls, value: object) -> object:
        return value if value is None or isinstance(value, Mapping) else {"base": value}


@dataclass(frozen=True, slots=True)
class RateCard:
    """USD per million tokens of one model on one day; None where the source has no such rate."""

    input: Rate | None
    output: Rate | None
    cache_read: Rate | None
    cache_write: Rate | None
    cache_write_1h: Rate | None = None

    def cost_usd(self, usage: Usage) -> Decimal | None:
        """Exact, unrounded. None when a kind of token that was used has no rate."""
        # Tiers go by the whole prompt; our input_tokens leaves out the cached part, theirs includes it.
        prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        for_an_hour = usage.cache_write_1h_tokens or 0
        total = Decimal(0)
        for rate, tokens in (
            (self.input, usage.input_tokens),
            (self.output, usage.output_tokens),
            (self.cache_read, usage.cache_read_tokens),
            (self.cache_write, usage.cache_write_tokens - for_an_hour),
            (self.cache_write_1h, for_an_hour),
        ):
            if not tokens:
                continue
            if rate is None:
                return None
            total += calc_unit_price(rate, tokens, prompt_tokens, _PER_MILLION)
        return total


class PriceBook:
    """Prices by model and UTC day; `overrides` win over the snapshot from their day on."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._overrides = sorted(overrides, key=lambda override: override.since)
        # A request may name any model: the memo is bounded.
        self._card = lru_cache(maxsize=1024)(self._find_card)

    def cost_usd(self, model: str, usage: Usage, at: datetime) -> Decimal | None:
        """What `usage` cost at `at` (timezone-aware); None when the price is unknown, never a false zero."""
        card = self._card(model, at.astimezone(UTC).date())
        return None if card is None else card.cost_usd(usage)

    def ceiling_usd(self, model: str, usage: Usage, at: datetime) -> Decimal:
        """What `usage` costs; where the price is unknown, what it costs of the dearest model whose price is known."""
        if (cost := self.cost_usd(model, usage, at)) is not None:
            return cost
        return max(cost for name in self._priced() if (cost := self.cost_usd(name, usage, at)) is not None)

    def _find_card(self, model: str, day: date) -> RateCard | None:
        dated = [override for override in self._overrides if override.model == model and override.since <= day]
        return _overridden(dated[-1]) if dated else _snapshot_card(model, day)

    def _priced(self) -> set[str]:
        shipped = next(provider for provider in get_snapshot().providers if provider.id == _PROVIDER)
        return {model.id for model in shipped.models} | {override.model for override in self._overrides}


def load_overrides(text: str) -> list[Override]:
    """The entries of a `prices.json`. Raises ValueError where it is malformed."""
    return [Override.model_validate(entry) for entry in json.loads(text)["prices"]]


def cost_usd(model: str, usage: Usage, at: datetime | None = None) -> Decimal | None:
    """What `usage` of `model` cost, exact and unrounded, at `at` or else now; None when the price is unknown."""
    return _shipped_book().cost_usd(model, usage, at or datetime.now(UTC))


def ceiling_usd(model: str, usage: Usage) -> Decimal:
    """What a call of `model` that takes no more than `usage` may cost at most now; known or not, it has a price."""
    return _shipped_book().ceiling_usd(model, usage, datetime.now(UTC))


@lru_cache(maxsize=1)
def _shipped_book() -> PriceBook:
    return PriceBook(load_overrides(files("streams.model").joinpath("prices.json").read_text(encoding="utf-8")))


def _overridden(entry: Override) -> RateCard:
    hour = entry.cache_write_1h
    return RateCard(
        entry.input.as_rate(),
        entry.output.as_rate(),
        entry.cache_read.as_rate(),
        entry.cache_write.as_rate(),
        None if hour is None else hour.as_rate(),
    )


def _snapshot_card(model: str, day: date) -> RateCard | None:
    try:
        _, found = get_snapshot().find_provider_model(model, None, _PROVIDER, None)
    except LookupError:
        return None
    prices = found.get_prices(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return RateCard(
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_read_mtok,
        prices.cache_write_mtok,
        prices.cache_write_1h_mtok,
    )
