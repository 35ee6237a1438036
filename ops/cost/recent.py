"""What recent calls teach an estimate: how long answers are, how many characters a token has, how fast it goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

_TEACHES: Final = timedelta(days=7)
_SPEED_OF: Final = timedelta(days=1)
_FEWEST_CALLS: Final = 5

_CALLS: Final = """
SELECT r.model, r.template, count(),
    avg(r.input_tokens + r.cache_read_tokens + r.cache_write_tokens), avg(r.output_tokens),
    sumIf(lengthUTF8(assumeNotNull(r.answer)), isNotNull(r.answer)), sumIf(r.output_tokens, isNotNull(r.answer))
FROM results AS r
WHERE r.completed_at >= {since:DateTime64(6, 'UTC')} AND r.status = 'completed' AND r.source = 'model'
GROUP BY r.model, r.template
"""
# The busiest minute: what the workers have shown they can do, however long they had nothing to do.
_SPEED: Final = """
SELECT max(calls) FROM (
    SELECT count() AS calls FROM results AS r
    WHERE r.completed_at >= {since:DateTime64(6, 'UTC')} AND r.source = 'model'
    GROUP BY toStartOfMinute(r.completed_at)
)
"""


@dataclass(frozen=True, slots=True)
class Calls:
    """Means of the recent calls of one model for one template (empty: without one)."""

    model: str
    template: str
    calls: int
    input_tokens: float
    output_tokens: float
    kept_characters: int = 0
    """Of the answers whose text ClickHouse keeps; with their tokens they give the characters of a token."""
    kept_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Recent:
    """Nothing is known where ClickHouse does not answer: every question then gives None."""

    calls: tuple[Calls, ...] = ()
    calls_per_second: float | None = None
    _means: dict[tuple[str, str], tuple[float, float] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def tokens_of(self, model: str, template: str | None) -> tuple[float, float] | None:
        """Mean input and output tokens of a call for `template`; None for too few calls, or for no template."""
        if template is None:
            return None
        key = (model, template)
        if key not in self._means:
            self._means[key] = self._mean([each for each in self._of(model) if each.template == template])
        return self._means[key]

    def characters_per_token(self, model: str) -> float | None:
        """Learnt from the model's answers where their text is kept."""
        known = [each for each in self._of(model) if each.kept_tokens]
        tokens = sum(each.kept_tokens for each in known)
        return sum(each.kept_characters for each in known) / tokens if tokens else None

    def _of(self, model: str) -> list[Calls]:
        # The API may answer under a dated name of the model that was asked for.
        return [each for each in self.calls if each.model == model or each.model.startswith(f"{model}-20")]

    @staticmethod
    def _mean(found: list[Calls]) -> tuple[float, float] | None:
        calls = sum(each.calls for each in found)
        if calls < _FEWEST_CALLS:
            return None
        return (
            sum(each.input_tokens * each.calls for each in found) / calls,
            sum(each.output_tokens * each.calls for each in found) / calls,
        )


def recent_calls(client: Any, now: datetime) -> Recent:
    """Ask ClickHouse; its client's errors are raised as they are."""
    rows = client.query(_CALLS, parameters=_since(now - _TEACHES)).result_rows
    busiest = client.query(_SPEED, parameters=_since(now - _SPEED_OF)).result_rows[0][0]
    return Recent(tuple(Calls(*row) for row in rows), busiest / 60 if busiest else None)


def _since(moment: datetime) -> Mapping[str, datetime]:
    return {"since": moment}
