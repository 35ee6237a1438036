"""When a value can be found in a text again, and nothing but it: what may be exchanged, and what may not."""

import re
from collections.abc import Iterable
from typing import Final

LEAST_CHARACTERS: Final = 6
_SAFE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""These stand in JSON as themselves, and a value ends where a word may end."""
_LETTER: Final = re.compile(r"[A-Za-z]")
_DIGIT_OR_SEPARATOR: Final = re.compile(r"[0-9._-]")


def is_distinctive(value: str) -> bool:
    """Whether `value` is a name like `osl-01-acc-03`: long enough, of safe characters, and no plain word or number."""
    return (
        len(value) >= LEAST_CHARACTERS
        and _SAFE.fullmatch(value) is not None
        and _LETTER.search(value) is not None
        and _DIGIT_OR_SEPARATOR.search(value) is not None
    )


def occurs_in(value: str, texts: Iterable[str]) -> bool:
    """Whether any of `texts` holds `value`, in whatever case."""
    folded = value.casefold()
    return any(folded in text.casefold() for text in texts)
