"""How many tokens a call will take, learnt per model from what calls took."""

from dataclasses import dataclass
from typing import Final

_FIRST_CHARACTERS_PER_TOKEN: Final = 3.0
"""Before the first answer: rather too many tokens than too few."""
_NEWEST_SHARE: Final = 0.05
_DEVIATIONS: Final = 1.0


@dataclass(slots=True)
class _Learnt:
    characters_per_token: float = _FIRST_CHARACTERS_PER_TOKEN
    output_tokens: float | None = None
    deviation: float = 0.0


class Estimates:
    """Exponentially weighted means, so that they follow a change of what is asked. One per worker."""

    def __init__(self) -> None:
        self._learnt: dict[str, _Learnt] = {}

    def input_tokens(self, model: str, characters: int) -> int:
        return max(1, round(characters / self._of(model).characters_per_token))

    def output_tokens(self, model: str, max_tokens: int) -> int:
        """The usual output and a margin, at most `max_tokens`; before the first answer, that."""
        learnt = self._of(model)
        if learnt.output_tokens is None:
            return max_tokens
        return max(1, min(max_tokens, round(learnt.output_tokens + _DEVIATIONS * learnt.deviation)))

    def learn(self, model: str, characters: int, input_tokens: int, output_tokens: int) -> None:
        """`input_tokens` with those read from or written to the provider's cache: all that the characters became."""
        learnt = self._of(model)
        if characters > 0 and input_tokens > 0:
            learnt.characters_per_token += _NEWEST_SHARE * (characters / input_tokens - learnt.characters_per_token)
        if learnt.output_tokens is None:
            learnt.output_tokens = float(output_tokens)
        off = output_tokens - learnt.output_tokens
        learnt.output_tokens += _NEWEST_SHARE * off
        learnt.deviation += _NEWEST_SHARE * (abs(off) - learnt.deviation)

    def _of(self, model: str) -> _Learnt:
        return self._learnt.setdefault(model, _Learnt())
