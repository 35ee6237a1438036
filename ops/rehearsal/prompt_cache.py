"""The prompts that are kept between calls, as the API keeps them: by marked prefix, for five minutes or an hour."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from ops.rehearsal.answers import input_tokens_of
from ops.rehearsal.validation import Ask, Mark
from streams.model.prompt_marks import minimum_cacheable_tokens

_USUAL_MINIMUM_TOKENS: Final = 1024
_FIVE_MINUTES_SECONDS: Final = 300.0
_MOST_KEPT: Final = 10_000


class Kept(NamedTuple):
    """How many tokens of one prompt are read from the cache and how many written, some of these for an hour."""

    read_tokens: int = 0
    write_tokens: int = 0
    write_1h_tokens: int = 0


@dataclass(slots=True)
class _Prefix:
    until: float
    life_seconds: float


class PromptCache:
    """By key and model. Only what was marked is found again: the API also looks back over a few unmarked blocks."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[tuple[str, str, bytes], _Prefix] = OrderedDict()

    def look(self, ask: Ask, key_hash: str, now: float) -> Kept:
        """What a call that starts `now` (seconds of any clock) reads and writes; changes nothing."""
        marks = _long_enough(ask)
        if not marks:
            return Kept()
        found = [mark for mark in marks if self._is_kept(ask, key_hash, mark, now)]
        read_tokens = _tokens(found[-1]) if found else 0
        written = [mark for mark in marks if not found or mark.characters > found[-1].characters]
        if not written:
            return Kept(read_tokens)
        hours = [_tokens(mark) for mark in written if mark.life_seconds > _FIVE_MINUTES_SECONDS]
        return Kept(read_tokens, _tokens(written[-1]) - read_tokens, max(hours, default=read_tokens) - read_tokens)

    def keep(self, ask: Ask, key_hash: str, now: float) -> None:
        """The call is answered: what it marked is there for the next, also what was there before."""
        for mark in _long_enough(ask):
            key = _key(ask, key_hash, mark)
            known = self._prefixes.pop(key, None)
            life_seconds = mark.life_seconds
            if known is not None and known.until > now:
                life_seconds = max(known.life_seconds, life_seconds)
            self._prefixes[key] = _Prefix(now + life_seconds, life_seconds)
        while len(self._prefixes) > _MOST_KEPT:
            self._prefixes.popitem(last=False)

    def _is_kept(self, ask: Ask, key_hash: str, mark: Mark, now: float) -> bool:
        prefix = self._prefixes.get(_key(ask, key_hash, mark))
        return prefix is not None and prefix.until > now


def _long_enough(ask: Ask) -> list[Mark]:
    minimum = minimum_cacheable_tokens(ask.model) or _USUAL_MINIMUM_TOKENS
    return [mark for mark in ask.marks if _tokens(mark) >= minimum]


def _tokens(mark: Mark) -> int:
    return input_tokens_of(mark.characters)


def _key(ask: Ask, key_hash: str, mark: Mark) -> tuple[str, str, bytes]:
    return key_hash, ask.model, hashlib.sha256(ask.prompt[: mark.characters].encode()).digest()
