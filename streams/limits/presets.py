"""Which models share a limit, and what each tier allows: data, read from `presets.json`."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from streams.limits.rates import Configured, Rates

Tier = Literal["start", "build", "scale"]


@lru_cache(maxsize=1024)
def family_of(model: str) -> str:
    """The models that share one limit, by the longest listed beginning; a model that is not listed is on its own."""
    starts = [(start, family) for family, each in _presets()["families"].items() for start in each]
    fitting = [(start, family) for start, family in starts if model == start or model.startswith(f"{start}-")]
    return max(fitting, default=(model, model), key=lambda one: len(one[0]))[1]


def configured_for(family: str, tier: Tier | None, explicit: Rates) -> Configured:
    """Explicit numbers are caps and hold for every family; a tier's give way to what the API says."""
    if explicit.limited:
        return Configured(explicit, caps=True)
    return Configured(Rates(**_presets()["tiers"][tier].get(family, {}))) if tier else Configured()


@lru_cache(maxsize=1)
def _presets() -> dict[str, Any]:
    presets: dict[str, Any] = json.loads(files("streams.limits").joinpath("presets.json").read_text(encoding="utf-8"))
    return presets
