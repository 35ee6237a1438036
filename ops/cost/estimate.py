"""What a file of requests would cost before any of it is published. Pure: prices and recent calls are passed in."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from ops.cost.recent import Recent
from producers.bulk import RejectedLine
from schemas.fingerprint import fingerprint_of
from schemas.request import PromptRequest
from schemas.result import Usage
from streams.cache.port import CacheKey, cache_key_of
from streams.model.prompting import prompt_of

CHARACTERS_PER_TOKEN: Final = 3.5
"""Where no answer's text is kept to learn it from; English prose and device configurations lie between 3 and 4."""
ANSWER_SHARE: Final = 0.5
"""Of `max_tokens`, where no recent call for the template tells how long its answers are."""

Price = Callable[[str, Usage], Decimal | None]


class Question(NamedTuple):
    """One distinct question of the file, which is one call unless its answer is in the cache."""

    model: str
    template: str | None
    characters: int
    max_tokens: int


class LongestCall(NamedTuple):
    """What one line may take at most: every byte of its prompt a token, the answer as long as it may be."""

    model: str
    octets: int
    max_tokens: int


@dataclass(slots=True)
class Asked:
    """What a file asks: its lines counted, its questions each once."""

    lines: int = 0
    rejected: int = 0
    shared: dict[CacheKey, Question] = field(default_factory=dict)
    """Questions an answer in the cache will do for."""
    fresh: dict[str, Question] = field(default_factory=dict)
    """Questions of `refresh` and `bypass`, each a call of its own whatever is in the cache."""
    longest: Counter[LongestCall] = field(default_factory=Counter)

    @property
    def valid(self) -> int:
        return self.lines - self.rejected

    def add(self, request: PromptRequest, model: str) -> None:
        """One more valid line."""
        prompt = prompt_of(request, model)
        text = json.dumps([prompt.system, prompt.messages], ensure_ascii=False)
        question = Question(model, request.template, len(text), request.max_tokens)
        self.longest[LongestCall(model, len(text.encode()), request.max_tokens)] += 1
        if request.cache.mode == "use":
            self.shared.setdefault(cache_key_of(request.tenant, fingerprint_of(request, model)), question)
        else:
            self.fresh[str(request.request_id)] = question

    def calls(self, cached: AbstractSet[CacheKey]) -> Iterable[Question]:
        """The questions that no answer in `cached` will do for."""
        yield from (question for key, question in self.shared.items() if key not in cached)
        yield from self.fresh.values()


@dataclass(slots=True)
class Estimate:
    """The dollars are sums over known prices alone; `unpriced_calls` come on top, at a price nobody knows."""

    lines: int
    valid: int
    distinct: int
    cached: int | None
    """None: the cache did not answer, so nothing in it is counted on."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    expected_usd: Decimal = Decimal(0)
    at_most_usd: Decimal = Decimal(0)
    """No answer shared, every line a LongestCall. Above that are only calls of unknown outcome, asked again."""
    unpriced_lines: int = 0
    """Lines whose highest cost is not in `at_most_usd`."""
    unpriced_calls: int = 0
    unpriced_models: set[str] = field(default_factory=set)
    guessed_calls: int = 0
    """Calls whose tokens no recent call for the same template tells."""
    calls_per_second: float | None = None

    @property
    def seconds(self) -> float | None:
        """At the speed of the busiest minute of the last day."""
        return self.calls / self.calls_per_second if self.calls_per_second else None

    def as_json(self) -> dict[str, Any]:
        seconds = self.seconds
        return {
            "lines": self.lines,
            "valid": self.valid,
            "rejected": self.lines - self.valid,
            "distinct_keys": self.distinct,
            "cached": self.cached,
            "expected_calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "expected_usd": float(self.expected_usd),
            "at_most_usd": float(self.at_most_usd),
            "unpriced_calls": self.unpriced_calls,
            "unpriced_lines": self.unpriced_lines,
            "unpriced_models": sorted(self.unpriced_models),
            "guessed_calls": self.guessed_calls,
            "calls_per_second": self.calls_per_second,
            "seconds": None if seconds is None else round(seconds, 1),
        }


def asked_in(lines: Iterable[PromptRequest | RejectedLine], default_model: str, skip: int = 0) -> Asked:
    """Go through the lines once; the first `skip` requests are left out, an earlier run has published them."""
    asked = Asked()
    for line in lines:
        if isinstance(line, PromptRequest) and skip:
            skip -= 1
            continue
        asked.lines += 1
        if isinstance(line, RejectedLine):
            asked.rejected += 1
            continue
        asked.add(line, line.model or default_model)
    return asked


def estimate(asked: Asked, cached: AbstractSet[CacheKey] | None, recent: Recent, price: Price) -> Estimate:
    """Expected and highest cost. `price` gives None for a model whose price is unknown: told, never taken for free."""
    told = Estimate(
        lines=asked.lines,
        valid=asked.valid,
        distinct=len(asked.shared) + len(asked.fresh),
        cached=None if cached is None else len(cached),
        calls_per_second=recent.calls_per_second,
    )
    for question in asked.calls(cached or frozenset()):
        means = recent.tokens_of(question.model, question.template)
        told.guessed_calls += means is None
        _expect(told, question, _guessed(question, recent) if means is None else _like(means, question), price)
    for longest, lines in asked.longest.items():
        usage = Usage(input_tokens=longest.octets, output_tokens=longest.max_tokens)
        cost = price(longest.model, usage)
        told.at_most_usd += (cost or 0) * lines
        told.unpriced_lines += lines if cost is None else 0
    return told


def _expect(told: Estimate, question: Question, usage: Usage, price: Price) -> None:
    cost = price(question.model, usage)
    told.calls += 1
    told.input_tokens += usage.input_tokens
    told.output_tokens += usage.output_tokens
    told.expected_usd += cost or 0
    if cost is None:
        told.unpriced_calls += 1
        told.unpriced_models.add(question.model)


def _like(means: tuple[float, float], question: Question) -> Usage:
    return Usage(input_tokens=math.ceil(means[0]), output_tokens=min(math.ceil(means[1]), question.max_tokens))


def _guessed(question: Question, recent: Recent) -> Usage:
    ratio = recent.characters_per_token(question.model) or CHARACTERS_PER_TOKEN
    answer = max(1, math.ceil(question.max_tokens * ANSWER_SHARE))
    return Usage(input_tokens=math.ceil(question.characters / ratio), output_tokens=answer)
