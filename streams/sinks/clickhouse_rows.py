"""Results as columns of ClickHouse's `llm_results`. Pure; in the forms the client writes fastest."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from schemas.result import Answer, ErrorDetail, PromptResult
from streams.sinks.port import BadRow

Columns = dict[str, Sequence[Any]]

_LARGEST_64: Final = 2**64 - 1
_LARGEST_32: Final = 2**32 - 1
_MONEY_BOUND: Final = Decimal(10**9)  # Decimal(18, 9) has nine digits before the point
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What DateTime64(6) can hold; a time beyond is moved to the bound.
_EARLIEST_US: Final = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST_US: Final = (datetime(2299, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_NO_ANSWER: Final = Answer(text="")
_NO_ERROR: Final = ErrorDetail(code="", message="")


def columns_of(results: Sequence[PromptResult], *, with_text: bool) -> Columns:
    """Every column of the table. Prompts are never in it, answers only `with_text`. Raises BadRow."""
    return {
        "request_id": [result.request_id.int for result in results],
        "tenant": [result.tenant for result in results],
        "department": [result.department or "" for result in results],
        "user_id": [result.user_id or "" for result in results],
        "application": [result.application or "" for result in results],
        "labels": [result.labels for result in results],
        "template": [result.template or "" for result in results],
        "status": [result.status for result in results],
        "source": [result.source or "" for result in results],
        "model": [result.model or "" for result in results],
        **_usage(results),
        **_timing(results),
        "paid_by": [result.paid_by for result in results],
        "fingerprint": [result.fingerprint or "" for result in results],
        "error_code": [(result.error or _NO_ERROR).code for result in results],
        "stop_reason": [(result.answer or _NO_ANSWER).stop_reason or "" for result in results],
        **({"answer": [result.answer.text if result.answer else None for result in results]} if with_text else {}),
    }


def _usage(results: Sequence[PromptResult]) -> Columns:
    usages = [result.usage for result in results]
    return {
        "input_tokens": _within(_LARGEST_64, [usage.input_tokens for usage in usages]),
        "output_tokens": _within(_LARGEST_64, [usage.output_tokens for usage in usages]),
        "cache_read_tokens": _within(_LARGEST_64, [usage.cache_read_tokens for usage in usages]),
        "cache_write_tokens": _within(_LARGEST_64, [usage.cache_write_tokens for usage in usages]),
        "cost_usd": _money([result.cost_usd for result in results]),
        "saved_usd": _money([result.saved_usd for result in results]),
        "attempts": _within(_LARGEST_32, [result.attempts for result in results]),
    }


def _timing(results: Sequence[PromptResult]) -> Columns:
    timings = [result.timing for result in results]
    return {
        "accepted_at": _microseconds([timing.accepted_at for timing in timings]),
        "started_at": _microseconds([timing.started_at for timing in timings]),
        "completed_at": _microseconds([timing.completed_at for timing in timings]),
        "queue_ms": _within(_LARGEST_64, [timing.queue_ms for timing in timings]),
        "model_ms": _within(_LARGEST_64, [timing.model_ms for timing in timings]),
    }


def _within(largest: int, counts: list[int]) -> list[int]:
    """Counts no larger than the column holds; the usual batch is passed on as it is."""
    if not counts or max(counts) <= largest:
        return counts
    return [min(count, largest) for count in counts]


def _microseconds(moments: list[datetime]) -> list[int]:
    return [min(max((moment - _EPOCH) // _MICROSECOND, _EARLIEST_US), _LATEST_US) for moment in moments]


def _money(amounts: list[Decimal | None]) -> list[Decimal | None]:
    """Amounts as they are. Money is never moved to a bound: an amount that does not fit is a bad row."""
    if any(amount is not None and not -_MONEY_BOUND < amount < _MONEY_BOUND for amount in amounts):
        raise BadRow("ClickHouse", "an amount of a billion dollars or more does not fit Decimal(18, 9)")
    return amounts
