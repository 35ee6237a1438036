"""An estimate in words."""

from decimal import Decimal

from ops.cost.amounts import duration
from ops.cost.estimate import ANSWER_SHARE, Estimate


def words_of(told: Estimate) -> str:
    """A few lines of at most 80 columns; the dollars last but for what they leave out."""
    cached = "unknown (no cache answers)" if told.cached is None else f"{told.cached:,}"
    seconds = "unknown (no recent calls)" if told.seconds is None else duration(told.seconds * 1000)
    rows = [
        ("lines", f"{told.lines:,}, {told.valid:,} valid"),
        ("distinct questions", f"{told.distinct:,}"),
        ("already cached", cached),
        ("expected calls", f"{told.calls:,}"),
        ("tokens", f"{told.input_tokens:,} in, {told.output_tokens:,} out"),
        ("time", seconds),
        ("expected cost", _amount(told.expected_usd, told.unpriced_calls)),
        ("at most", _amount(told.at_most_usd, told.unpriced_lines)),
    ]
    return "\n".join(f"{name:<20}{value}" for name, value in rows) + _notes(told)


def _amount(amount: Decimal, unpriced: int) -> str:
    return f"unknown, ${amount:.4f} of it known" if unpriced else f"${amount:.4f}"


def _notes(told: Estimate) -> str:
    notes = ["(at most: no answer shared, every byte of a prompt a token, all of max_tokens)"]
    if told.unpriced_calls:
        notes.append(f"{told.unpriced_calls:,} calls have no known price; add theirs to streams/model/prices.json:")
        notes += [f"  {model}" for model in sorted(told.unpriced_models)[:5]]
    if told.guessed_calls:
        notes.append(
            f"{told.guessed_calls:,} calls have no recent like: their tokens are guessed from the length of the\n"
            f"prompt, their answers as {ANSWER_SHARE:.0%} of max_tokens"
        )
    return "".join(f"\n{note}" for note in notes)
