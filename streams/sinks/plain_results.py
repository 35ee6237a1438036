"""Results as our own workers write them, read on a short way: no event is built, every rule of one is still held.

`plain_fields` answers None wherever it is not sure: the full decoding then decides, and says what is wrong. Where it
answers, both ways say the same; tests/unit/test_plain_results.py holds that as a law.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain, repeat
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

_AT_ONCE: Final = 64
"""So few that all of them stay in the processor's cache."""

# Each takes all of its keys in one step, and fails where one is missing or where there is no object.
_parts: Final = itemgetter("request_id", "tenant", "labels", "status", "usage", "attempts", "timing")
_tokens: Final = itemgetter("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_times: Final = itemgetter("queue_ms", "model_ms", "accepted_at", "started_at", "completed_at")
_text: Final = itemgetter("text")
_NO_ANSWER: Final = {"text": None}
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
    error_codes, error_messages = _errors(_told(events, "error"))
    answers, stop_reasons = _answers(_told(events, "answer"))
    accepted_to_completed = moments(list(chain(*times)))
    columns = (
        ids(request_ids),
        map(_TENANTS.__getitem__, tenants),
        *(map(_NAMES.__getitem__, _told(events, name)) for name in ("department", "user_id", "application")),
        map(_LABELS.__getitem__, map(orjson.dumps, labels)),
        map(_TEMPLATES.__getitem__, _told(events, "template")),
        map(_STATUSES.__getitem__, statuses),
        map(_SOURCES.__getitem__, _told(events, "source")),
        map(_NAMES.__getitem__, _told(events, "model")),
        *counts,
        *(accepted_to_completed[at : at + len(events)] for at in range(0, len(accepted_to_completed), len(events))),
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
    return list(map(dict.get, events, repeat(name)))


def _check_validations(found: Texts) -> None:
    for validation in found:
        if validation is not None:
            Validation.model_validate(validation, extra="ignore")


def _errors(found: Texts) -> tuple[Texts, Texts]:
    """Codes and messages."""
    errors = [each if each is None else ErrorDetail.model_validate(each, extra="ignore") for each in found]
    return [each and each.code for each in errors], [each and each.message for each in errors]


def _answers(found: Texts) -> tuple[Texts, Texts]:
    """Texts and stop reasons."""
    answers = [_NO_ANSWER if each is None else each for each in found]
    texts = text_or_none(list(map(_text, answers)))
    if texts.count(None) != found.count(None):
        raise UnsureError
    return texts, list(map(_REASONS.__getitem__, _told(answers, "stop_reason")))


def _labels(written: bytes) -> dict[str, str]:
    return {_LABEL_KEYS[key]: _LABEL_VALUES[text] for key, text in orjson.loads(written).items()}


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
