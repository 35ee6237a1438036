"""Marks for the provider's prompt cache: where the part of a prompt that many calls share ends, if it is long enough.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from schemas.result import Usage
from streams.model.port import ModelPrompt

MARK: Final[Mapping[str, str]] = {"type": "ephemeral"}
"""Kept for five minutes after its last use."""
HOUR: Final = "1h"

# Rather too many tokens than too few: a mark on a prefix that is too short costs nothing.
_CHARACTERS_PER_TOKEN: Final = 3
_DENSEST_BYTES_PER_TOKEN: Final = 2
"""Of digits and hexadecimal; budgets reserve by it."""
_WORTH_SPLITTING_CHARACTERS: Final = 256
"""A fixed beginning of the turn that is shorter is not worth a block of its own; the mark stays on the system text."""


@lru_cache(maxsize=1024)
def minimum_cacheable_tokens(model: str) -> int | None:
    """The shortest prefix that `model` keeps; None where that is not known."""
    minimums: dict[str, int] = _data()["minimum_tokens"]
    fitting = [start for start in minimums if model == start or model.startswith(f"{start}-")]
    return minimums[max(fitting, key=len)] if fitting else None


def marked(prompt: ModelPrompt, fixed_characters: int) -> ModelPrompt:
    """`prompt`, marked where the system text and the turn's first `fixed_characters` end, if they are long enough."""
    minimum = minimum_cacheable_tokens(prompt.model)
    shared = len(prompt.system or "") + fixed_characters
    if minimum is None or shared < minimum * _CHARACTERS_PER_TOKEN:
        return prompt
    first, *rest = prompt.messages
    text = first["content"]
    if not _WORTH_SPLITTING_CHARACTERS <= fixed_characters < len(text):
        return replace(prompt, marks_system=True) if prompt.system else prompt
    fixed = {"type": "text", "text": text[:fixed_characters], "cache_control": dict(MARK)}
    blocks = [fixed, {"type": "text", "text": text[fixed_characters:]}]
    return replace(prompt, messages=[{**first, "content": blocks}, *rest])


def most_usage(prompt: ModelPrompt) -> Usage:
    """What one call of `prompt` can use at most, by a generous estimate: all input, written if any of it is marked."""
    texts = (prompt.system or "", *(str(turn["content"]) for turn in prompt.messages))
    tokens = sum(len(text.encode(errors="replace")) for text in texts) // _DENSEST_BYTES_PER_TOKEN
    lives = {mark.get("ttl") for mark in _marks(prompt)}
    if not lives:
        return Usage(input_tokens=tokens, output_tokens=prompt.max_tokens)
    hour = tokens if HOUR in lives else None
    return Usage(cache_write_tokens=tokens, cache_write_1h_tokens=hour, output_tokens=prompt.max_tokens)


def _marks(prompt: ModelPrompt) -> Iterable[Mapping[str, Any]]:
    """Every mark, the caller's own included."""
    if prompt.marks_system:
        yield MARK
    for turn in prompt.messages:
        for block in turn["content"] if isinstance(turn["content"], list) else ():
            if isinstance(mark := block.get("cache_control"), Mapping):
                yield mark


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("streams.model").joinpath("prompt_cache.json").read_text(encoding="utf-8"))
    return data
