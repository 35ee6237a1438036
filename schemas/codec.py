"""Events to Kafka records and back: CloudEvents 1.0, Kafka binding.

Written in binary mode: attributes in `ce_*` headers, the value plain JSON. Read in binary mode, in structured mode
(`application/cloudevents+json`), and as bare JSON without any `ce_*` header, so that any language can publish.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Final, TypeVar

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import BaseModel, ValidationError

from schemas.control import CANCEL_TYPE, CancelRequest
from schemas.dead_letter import DecodeError
from schemas.fingerprint import partition_key
from schemas.framing import unframed
from schemas.record import Headers, OutgoingRecord, Record, columns_of
from schemas.request import REQUEST_TYPE, PromptRequest
from schemas.result import RESULT_TYPE, PromptResult
from schemas.retry import first_seen_of
from schemas.topics import CONTROL, MAX_VALUE_BYTES, RESULTS

SOURCE: Final = "headrace"
_STRUCTURED: Final = b"application/cloudevents+json"
_JSON: Final = b"application/json"
_FIRST_OF_JSON: Final = 0x09
"""No JSON begins below a tab; a comparison for each record is all that prefixes cost."""
_YEAR_9999_MS: Final = 253_370_764_800_000
"""A producer sets a record's timestamp as it likes; past this one Python has no date."""
_FORM: Final = ("ce_specversion", "content-type", "ce_type")
FIXED_HEADERS: Final[Headers] = (
    ("ce_specversion", b"1.0"),
    ("content-type", _JSON),
    ("ce_source", SOURCE.encode()),
)
"""How every record that is written here begins; its type is the next."""
_BEGIN: Final = len(FIXED_HEADERS) + 1
_begin: Final = itemgetter(slice(_BEGIN))
_behind: Final = itemgetter(slice(_BEGIN, None))
_name: Final = itemgetter(0)

Event = TypeVar("Event", bound=BaseModel)


def encode_request(request: PromptRequest, topic: str, traceparent: str | None = None) -> OutgoingRecord:
    """The record of a request, keyed so that identical requests share a partition."""
    return request_record(request, topic, _json(request), request.accepted_at.isoformat(), traceparent)


def request_record(
    request: PromptRequest, topic: str, value: bytes, accepted_at: str, traceparent: str | None, request_id: str = ""
) -> OutgoingRecord:
    """The record of a request whose JSON is at hand, and its id as text perhaps; `accepted_at` is ISO 8601."""
    headers = _headers(REQUEST_TYPE, request_id or str(request.request_id), request.tenant, accepted_at, traceparent)
    return OutgoingRecord(topic, partition_key(request), value, headers)


def encode_result(result: PromptResult, traceparent: str | None = None) -> OutgoingRecord:
    """The record of a result, keyed by request id. The same result gives the same bytes."""
    return result_record(
        str(result.request_id), result.tenant, result.timing.completed_at.isoformat(), _json(result), traceparent
    )


def result_record(
    request_id: str, tenant: str, completed_at: str, value: bytes, traceparent: str | None
) -> OutgoingRecord:
    """The record of a result whose JSON is at hand; `completed_at` is ISO 8601."""
    headers = _headers(RESULT_TYPE, request_id, tenant, completed_at, traceparent)
    return OutgoingRecord(RESULTS, request_id.encode(), value, headers)


def encode_cancel(cancel: CancelRequest) -> OutgoingRecord:
    """The record of a cancellation, keyed by request id."""
    request_id = str(cancel.request_id)
    headers = _headers(CANCEL_TYPE, request_id, cancel.tenant, cancel.at.isoformat(), None)
    return OutgoingRecord(CONTROL, request_id.encode(), _json(cancel), headers)


def decode_request(record: Record) -> PromptRequest:
    """The request in `record`; one without `accepted_at` was accepted when the broker first stamped it.

    Raises DecodeError.
    """
    request = _decode(record, PromptRequest, REQUEST_TYPE)
    if "accepted_at" not in request.model_fields_set and 0 < (stamped_ms := first_seen_of(record)) < _YEAR_9999_MS:
        stamped = datetime.fromtimestamp(stamped_ms / 1000, UTC)
        request = request.model_copy(update={"accepted_at": stamped})
    return request


def decode_result(record: Record) -> PromptResult:
    """The result in `record`. Raises DecodeError."""
    return _decode(record, PromptResult, RESULT_TYPE)


def decode_cancel(record: Record) -> CancelRequest:
    """The cancellation in `record`. Raises DecodeError."""
    return _decode(record, CancelRequest, CANCEL_TYPE)


def _decode(record: Record, model: type[Event], expected_type: str) -> Event:
    try:
        return model.model_validate_json(_payload(record, expected_type), extra="ignore")
    except ValidationError as error:
        raise _refusal(error) from None


def plain_values(records: Sequence[Record], expected_type: str) -> list[bytes] | None:
    """The JSON of records, at least one, that are all in the form of our own producers.

    None where one is not, event or no event.
    """
    columns = columns_of(records)
    begin = (*FIXED_HEADERS, ("ce_type", expected_type.encode()))
    others = set(map(_name, chain.from_iterable(map(_behind, columns.headers))))
    if list(map(_begin, columns.headers)).count(begin) != len(records) or not others.isdisjoint(_FORM):
        return None
    values = [value for value in columns.value if value]
    fit = len(values) == len(records) == columns.read_error.count(None) and max(map(len, values)) <= MAX_VALUE_BYTES
    return values if fit else None


def _payload(record: Record, expected_type: str) -> bytes:
    value = record.value
    if record.read_error is not None:
        raise DecodeError("unreadable_record", record.read_error)
    if not value:
        raise DecodeError("empty_value", "the record has no value; publish the event as JSON")
    if value[0] < _FIRST_OF_JSON:
        value = unframed(value)  # a schema registry's prefix
    if len(value) > MAX_VALUE_BYTES:
        raise DecodeError("oversize", f"the value has {len(value)} bytes, the limit is {MAX_VALUE_BYTES}")
    headers = dict(record.headers)
    if tuple(map(headers.get, _FORM)) == _plain_form(expected_type):
        return value  # most records end here
    if (headers.get("content-type") or b"").startswith(_STRUCTURED):
        return _structured(value, expected_type)
    if any(name.startswith("ce_") for name in headers):
        _require(_text(headers, "ce_specversion"), _text(headers, "ce_type"), expected_type)
    return value


def _plain_form(event_type: str) -> tuple[bytes, ...]:
    return b"1.0", _JSON, event_type.encode()


def _text(headers: dict[str, bytes | None], name: str) -> str:
    return (headers.get(name) or b"").decode(errors="replace")


def _structured(value: bytes, expected_type: str) -> bytes:
    try:
        event = JSONFormat().read(CloudEvent, value)
    except Exception as error:  # noqa: BLE001 - the library's own errors share no ancestor but Exception
        reason = f"the structured CloudEvent cannot be read ({type(error).__name__}); see its JSON format, version 1.0"
        raise DecodeError("invalid_event", reason) from None
    _require(event.get_specversion(), event.get_type(), expected_type)
    data = event.get_data()
    if isinstance(data, bytes):
        return data
    return data.encode(errors="surrogatepass") if isinstance(data, str) else json.dumps(data).encode()


def _require(spec_version: str | None, found_type: str | None, expected_type: str) -> None:
    if spec_version != "1.0":
        raise DecodeError("invalid_event", "ce_specversion must be 1.0")
    if found_type != expected_type:
        raise DecodeError("unknown_type", f"ce_type must be {expected_type} on this topic")


def _refusal(error: ValidationError) -> DecodeError:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return DecodeError("not_json", "the value is not valid JSON")
    # Only field names of ours are told: a map's key, like any value, is the caller's text.
    told = "; ".join(
        f"{problem['loc'][0] if problem['loc'] else 'event'}: {problem['msg']}" for problem in problems[:5]
    )
    return DecodeError("invalid_request", told[:500])


def _headers(event_type: str, event_id: str, tenant: str, time: str, traceparent: str | None) -> Headers:
    headers: Headers = (
        *FIXED_HEADERS,
        ("ce_type", event_type.encode()),
        ("ce_id", event_id.encode()),
        ("ce_subject", tenant.encode()),
        ("ce_time", time.encode()),
    )
    return headers if traceparent is None else (*headers, ("traceparent", traceparent.encode()))


def _json(event: BaseModel) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()
