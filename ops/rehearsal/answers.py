"""Answers that look like a model's and are a pure function of the prompt."""

import hashlib
import math
from functools import lru_cache
from typing import Final

from ops.rehearsal.device_config import device_config
from ops.rehearsal.device_review import device_review

_INPUT_CHARS_PER_TOKEN: Final = 3.6
_OUTPUT_CHARS_PER_TOKEN: Final = 3.2

_REQUIREMENTS: Final = "\nRequirements:\n"
_DEVICE: Final = "Device: "
_REVIEW: Final = "Configuration to review:\n"

_OPENINGS: Final = (
    "In short: the usual approach holds here.",
    "There are two parts to this.",
    "The safe order is to check first and change second.",
    "This depends on one thing: who owns the state.",
)
_CLOSINGS: Final = (
    "Verify on one device before the fleet, and keep the old configuration until the counters are quiet.",
    "If the counters disagree, stop and compare both ends of the link.",
    "Write the change down with its way back, then apply it in a window.",
    "Measure before and after; a change without a figure is a guess.",
)


def input_tokens_of(body_chars: int) -> int:
    """A plausible count for a prompt of that many characters."""
    return max(1, math.ceil(body_chars / _INPUT_CHARS_PER_TOKEN))


def answer_to(prompt: str, max_tokens: int) -> tuple[str, str, int]:
    """Text, stop_reason and output tokens; the text is cut where it would exceed `max_tokens`."""
    text = _full_answer(prompt)
    tokens = max(1, math.ceil(len(text) / _OUTPUT_CHARS_PER_TOKEN))
    if tokens <= max_tokens:
        return text, "end_turn", tokens
    return text[: int(max_tokens * _OUTPUT_CHARS_PER_TOKEN)], "max_tokens", max_tokens


@lru_cache(maxsize=8192)
def _full_answer(prompt: str) -> str:
    if _REVIEW in prompt:
        return device_review(prompt.split(_REVIEW, 1)[1])
    if _REQUIREMENTS in prompt and (device := _line_after(prompt, _DEVICE)):
        return device_config(device, prompt.split(_REQUIREMENTS, 1)[1])
    return _plain_answer(prompt)


def _line_after(prompt: str, marker: str) -> str | None:
    for line in prompt.splitlines():
        if line.startswith(marker):
            return line[len(marker) :].strip() or None
    return None


def _plain_answer(prompt: str) -> str:
    digest = hashlib.sha256(prompt.encode()).digest()
    opening = _OPENINGS[digest[0] % len(_OPENINGS)]
    closing = _CLOSINGS[digest[1] % len(_CLOSINGS)]
    return f"{opening} {closing} (rehearsed answer {digest[:4].hex()})"
