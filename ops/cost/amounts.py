"""Numbers in few characters, for tables."""

from decimal import Decimal
from typing import Final

_UNITS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_IN_FULL: Final = 100_000
"""Counts below it are shown to the last digit."""
_CENTS_MATTER: Final = 1000
_FRACTIONS_MATTER: Final = 10
_SPANS: Final = ((36_000, 3600, "h"), (600, 60, "m"))


def compact(count: int) -> str:
    """At most six characters below a thousand trillion: 99,999, then 123k, 1.23M."""
    if count < _IN_FULL:
        return f"{count:,}"
    size, unit = next((size, unit) for size, unit in _UNITS if count >= size)
    # Cut, not rounded: 999,999 must not become 1e+03k.
    return f"{count // size:,}{unit}" if count >= 100 * size else f"{count / size:.3g}{unit}"


def dollars(amount: Decimal | None) -> str:
    """Fewer digits after the point the more stand before it; `?` for an unknown amount."""
    if amount is None:
        return "?"
    if amount >= _IN_FULL:
        return f"${compact(int(amount))}"
    if amount >= _CENTS_MATTER:
        return f"${amount:,.0f}"
    return f"${amount:.{2 if amount >= _FRACTIONS_MATTER else 4}f}"


def duration(milliseconds: float) -> str:
    """At most five characters below a month."""
    seconds = round(milliseconds) / 1000
    if seconds < 1:
        return f"{milliseconds:.0f}ms"
    for least, size, unit in _SPANS:
        if seconds >= least:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.3g}s"
