"""Results as our own workers write them, read on a short way: no event is built, every rule of one is still held.

`plain_columns` answers None wherever it is not sure: the full decoding then decides, and says what is wrong. Where it
answers, both ways say the same; tests/unit/test_plain_results.py holds that as a law.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta as Bounds
from msgspec import MsgspecError, Raw, Struct, field
from msgspec.json import Decoder
from msgspec.structs import astuple

from schemas.codec import plain_values
from schemas.identity import Name, TenantId
from schemas.record import Record
from schemas.request import LabelKey, LabelValue, TemplateRef
from schemas.result import RESULT_TYPE, ErrorDetail, Source, Status, Usd
from schemas.validation import Validation
from streams.sinks.plain_columns import Known, Texts, UnsureError, ids, ids_or_none, known, moments
from streams.sinks.result_fields import Columns, ResultFields

_Count = Annotated[int, Bounds(ge=0, le=2**63 - 1)]


class _Part(Struct, forbid_unknown_fields=True, gc=False):
    """A part of a result's JSON; a field of a later version is none of ours, and left to the full decoding."""


class _Answer(_Part):
    text: str
    stop_reason: str | None = None


class _Usage(_Part):
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_tokens: _Count = 0
    cache_write_tokens: _Count = 0
    cache_write_1h_tokens: _Count | None = None


class _Timing(_Part):
    accepted_at: str
    started_at: str
    completed_at: str
    queue_ms: _Count = 0
    model_ms: _Count = 0


class _Result(_Part, kw_only=True):
    """Types and bounds are held while it is decoded, the rules of texts column by column.

    In the order in which most are written, as each field is looked for behind the last one. What is absent is as in
    `PromptResult`: the result of a hit leaves out what it did not use.
    """

    request_id: str
    tenant: str
    department: str | None = None
    user_id: str | None = None
    application: str | None = None
    labels: Raw = Raw(b"{}")
    template: str | None = None
    status: Status
    answer: _Answer | None = None
    source: Source | None = None
    model: str | None = None
    requested_model: str | None = None
    usage: _Usage = field(default_factory=_Usage)
    cost_usd: str | None = None
    saved_usd: str | None = None
    attempts: _Count = 0
    timing: _Timing
    paid_by: str | None = None
    fingerprint: str | None = None
    validation: Any = None
    error: Any = None


_decode: Final = Decoder(_Result).decode
_decode_labels: Final = Decoder(dict[str, str]).decode
_FIELDS, _USAGE, _TIMING = _Result.__struct_fields__, _Usage.__struct_fields__, _Timing.__struct_fields__


def plain_columns(records: Sequence[Record]) -> Columns | None:
    """The columns of results that are all, at least one, in the form of our own workers."""
    values = plain_values(records, RESULT_TYPE)
    if values is None:
        return None
    try:
        return _columns(list(map(_decode, values)))
    except (UnsureError, MsgspecError, ValueError):
        return None  # which one it is, and whether it is an event all the same, is for others to find


def _columns(results: Sequence[_Result]) -> Columns:
    """Column by column, as a loop over columns is a loop in C. The rules of all columns hold for each row."""
    found = _turned(_FIELDS, results)
    found |= _turned(_USAGE, found["usage"]) | _turned(_TIMING, found["timing"])
    found["labels"] = list(map(bytes, found["labels"]))
    for name, rule in _RULES.items():
        found[name] = list(map(rule.__getitem__, found[name]))
    _check_validations(found["validation"])
    found["error_code"], found["error_message"] = _errors(found["error"])
    found["answer"], found["stop_reason"] = _answers(found["answer"])
    found["request_id"], found["paid_by"] = ids(found["request_id"]), ids_or_none(found["paid_by"])
    times = moments((*found["accepted_at"], *found["started_at"], *found["completed_at"]))
    for number, name in enumerate(("accepted_us", "started_us", "completed_us")):
        found[name] = times[number * len(results) : (number + 1) * len(results)]
    return [found[name] for name in ResultFields._fields]


def _turned(names: Sequence[str], parts: Sequence[_Part]) -> dict[str, Texts]:
    return dict(zip(names, zip(*map(astuple, parts), strict=True), strict=True))


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
    return [each and each.text for each in found], [each and each.stop_reason for each in found]


def _labels(written: bytes) -> dict[str, str]:
    return {_LABEL_KEYS[key]: _LABEL_VALUES[text] for key, text in _decode_labels(written).items()}


_NAMES: Final = known(Name | None)
_LABEL_KEYS: Final = known(LabelKey)
_LABEL_VALUES: Final = known(LabelValue)
_AMOUNTS: Final = known(Usd | None)
_RULES: Final = {
    "tenant": known(TenantId),
    **dict.fromkeys(("department", "user_id", "application", "model", "requested_model"), _NAMES),
    "labels": Known(_labels),
    "template": known(TemplateRef | None),
    **dict.fromkeys(("cost_usd", "saved_usd"), _AMOUNTS),
}
