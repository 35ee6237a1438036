"""Results as our own workers write them, read on a short way: no event is built, every rule of one is still held.

`plain_fields` answers None wherever it is not sure: the full decoding then decides, and says what is wrong. Where it
answers, both ways say the same; tests/unit/test_plain_results.py holds that as a law.
"""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final

import orjson

from schemas.codec import plain_values
from schemas.identity import Name, TenantId
from schemas.record import Record
from schemas.request import LabelKey, LabelValue, TemplateRef
from schemas.result import RESULT_TYPE, ErrorDetail, Source, Status, Usd
from schemas.validation import Validation
from streams.sinks.plain_columns import (
    Known,
    Texts,
    UnsureError,
    check_counts,
    ids,
    ids_or_none,
    known,
    moments,
    text_or_none,
)
from streams.sinks.result_fields import ResultFields

_AT_ONCE: Final = 32
"""So few that all of them stay in the processor's cache."""

# Each takes all of its keys in one step, and fails where one is missing or where there is no object.
_parts: Final = itemgetter("request_id", "tenant", "labels", "status", "usage", "attempts", "timing")
_tokens: Final = itemgetter("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_times: Final = itemgetter("queue_ms", "model_ms", "accepted_at", "started_at", "completed_at")
_of_a_tuple: Final = partial(tuple.__new__, ResultFields)  # what `_make` does, without a call of Python's own per row


def plain_fields(records: Sequence[Record]) -> list[ResultFields | None]:
    """The fields of each result in the form of our own workers; None where the full decoding must decide."""
    return [fields for at in range(0, len(records), _AT_ONCE) for fields in _alike(records[at : at + _AT_ONCE])]


def _alike(records: Sequence[Record]) -> Sequence[ResultFields | None]:
    """All of them in one go; where one is not as the others, each half of them."""
    values = plain_values(records, RESULT_TYPE)
    try:
        if values is not None:
            return _fields(list(map(orjson.loads, values)))
    except (UnsureError, LookupError, TypeError, AttributeError, ValueError):
        pass  # which one it is, and whether it is an event all the same, is found below
    middle = len(records) // 2
    return [*_alike(records[:middle]), *_alike(records[middle:])] if middle else [None]


def _fields(events: Sequence[Any]) -> list[ResultFields]:
    """Column by column, as a loop over columns is a loop in C. The rules of all columns hold for each row."""
    request_ids, tenants, labels, statuses, usages, attempts, timings = zip(*map(_parts, events), strict=True)
    queue_ms, model_ms, *times = zip(*map(_times, timings), strict=True)
    counts = (*zip(*map(_tokens, usages), strict=True), attempts, queue_ms, model_ms)
    check_counts(counts)
    _check_validations(_told(events, "validation"))
    error_codes, error_messages = zip(*map(_error, _told(events, "error")), strict=True)
    answers, stop_reasons = zip(*map(_answer, _told(events, "answer")), strict=True)
    columns = (
        ids(request_ids),
        map(_TENANTS.__getitem__, tenants),
        *(map(_NAMES.__getitem__, _told(events, name)) for name in ("department", "user_id", "application")),
        [_LABELS[tuple(each.items())] for each in labels],
        map(_TEMPLATES.__getitem__, _told(events, "template")),
        map(_STATUSES.__getitem__, statuses),
        map(_SOURCES.__getitem__, _told(events, "source")),
        map(_NAMES.__getitem__, _told(events, "model")),
        *counts,
        *map(moments, times),
        *(map(_AMOUNTS.__getitem__, _told(events, name)) for name in ("cost_usd", "saved_usd")),
        ids_or_none(_told(events, "paid_by")),
        text_or_none(_told(events, "fingerprint")),
        error_codes,
        stop_reasons,
        error_messages,
        answers,
    )
    return list(map(_of_a_tuple, zip(*columns, strict=True)))


def _told(events: Sequence[Any], name: str) -> Texts:
    return [event.get(name) for event in events]


def _check_validations(found: Texts) -> None:
    for validation in found:
        if validation is not None:
            Validation.model_validate(validation, extra="ignore")


def _error(found: Any) -> tuple[str | None, str | None]:
    if found is None:
        return None, None
    error = ErrorDetail.model_validate(found, extra="ignore")
    return error.code, error.message


def _answer(found: Any) -> tuple[str | None, str | None]:
    if found is None:
        return None, None
    text = found["text"]
    if type(text) is not str:
        raise UnsureError
    return text, _REASONS[found.get("stop_reason")]


def _labels(items: tuple[tuple[Any, Any], ...]) -> dict[str, str]:
    return {_LABEL_KEYS[key]: _LABEL_VALUES[text] for key, text in items}


_TENANTS: Final = known(TenantId)
_NAMES: Final = known(Name | None)
_LABEL_KEYS: Final = known(LabelKey)
_LABEL_VALUES: Final = known(LabelValue)
_LABELS: Final = Known(_labels)
_TEMPLATES: Final = known(TemplateRef | None)
_STATUSES: Final = known(Status)
_SOURCES: Final = known(Source | None)
_REASONS: Final = known(str | None)
_AMOUNTS: Final = known(Usd | None)
