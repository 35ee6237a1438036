"""What the accounts behind several endpoints have left of their rate limits, and what they have together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from streams.model.rate_headers import PREFIX

_DIMENSIONS: Final = ("requests", "input-tokens", "output-tokens")
_MOST_MODELS: Final = 64
"""Models are callers' text: no more of them are remembered."""


@dataclass(frozen=True, slots=True)
class _Told:
    """Of one dimension, per minute, at a moment."""

    limit: float
    remaining: float
    at: float

    def left(self, now: float) -> float:
        return min(self.limit, self.remaining + (now - self.at) * self.limit / 60)


class AccountLimits:
    """Of one account, by model, as its API last told them. Moments are seconds of any one clock."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, _Told]] = {}

    def learn(self, model: str, headers: Mapping[str, str], now: float) -> None:
        """Take over what an answer or a refusal said."""
        told = {name: found for name in _DIMENSIONS if (found := _told_in(headers, name, now)) is not None}
        if told and (model in self._told or len(self._told) < _MOST_MODELS):
            self._told[model] = told

    def knows(self, model: str) -> bool:
        return model in self._told

    def remaining_share(self, model: str, now: float) -> float:
        """What is left of the scarcest limit, between 0 and 1; 1 where none is known."""
        shares = (told.left(now) / told.limit for told in self._told.get(model, {}).values())
        return min(shares, default=1.0)

    def left_of(self, model: str, now: float) -> Mapping[str, tuple[float, float]]:
        """By dimension: the limit, and what is left of it."""
        return {name: (told.limit, told.left(now)) for name, told in self._told.get(model, {}).items()}


def summed(accounts: Iterable[AccountLimits], model: str, now: float) -> dict[str, str]:
    """The headers of one account that had all of it; none until each account has told its own."""
    given = list(accounts)
    if not given or not all(account.knows(model) for account in given):
        return {}
    each = [account.left_of(model, now) for account in given]
    headers: dict[str, str] = {}
    for name in _DIMENSIONS:
        if all(name in account for account in each):
            headers[f"{PREFIX}{name}-limit"] = str(int(sum(account[name][0] for account in each)))
            headers[f"{PREFIX}{name}-remaining"] = str(int(sum(account[name][1] for account in each)))
    return headers


def _told_in(headers: Mapping[str, str], name: str, now: float) -> _Told | None:
    try:
        limit = float(headers[f"{PREFIX}{name}-limit"])
        remaining = float(headers[f"{PREFIX}{name}-remaining"])
    except (KeyError, ValueError):
        return None
    return _Told(limit, max(0.0, min(remaining, limit)), now) if limit > 0 else None
