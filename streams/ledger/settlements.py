"""What every settlement has to carry, whichever ledger takes it."""

from collections.abc import Iterable

from streams.ledger.port import Settlement


def require_complete(settlements: Iterable[Settlement]) -> None:
    """Raises ValueError for one that could not be told again: an answer without bytes, an end without its error."""
    for each in settlements:
        if each.outcome == "answered" and (each.answer is None or each.expires_at is None):
            raise ValueError("A settlement as answered carries the answer's bytes and until when they serve.")
        if each.outcome == "ended" and each.error is None:
            raise ValueError("A settlement as ended carries the error that the request ends with.")
