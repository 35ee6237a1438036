"""One example of each event, for the documents and the contract page: real records, made by our own encoders."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from schemas.codec import encode_cancel, encode_request, encode_result
from schemas.control import CancelRequest
from schemas.dead_letter import DecodeError, dead_letter_of
from schemas.fingerprint import fingerprint_of
from schemas.record import OutgoingRecord, Record
from schemas.request import CachePolicy, PromptRequest
from schemas.result import Answer, PromptResult, Timing, Usage
from schemas.topics import REQUESTS

_ID: Final = UUID("0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04")
_ACCEPTED: Final = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
_MODEL: Final = "claude-haiku-5-5"
_TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

REQUEST: Final = PromptRequest(
    request_id=_ID,
    tenant="meridian",
    department="field-operations",
    user_id="u-1042",
    application="provisioning-portal",
    labels={"device_name": "osl-01-acc-03", "site": "osl-01", "role": "access-switch"},
    max_tokens=1500,
    template="network-config@1",
    variables={"device_name": "osl-01-acc-03", "requirements": "VLAN 110 users on Gi1/0/1-40, NTP 10.1.0.10"},
    cache=CachePolicy(ttl_seconds=86_400),
    deadline=_ACCEPTED + timedelta(minutes=10),
    accepted_at=_ACCEPTED,
)

RESULT: Final = PromptResult.model_validate(
    REQUEST.dimensions()
    | {
        "status": "completed",
        "answer": Answer(text="hostname osl-01-acc-03\n!\nvlan 110\n name users\n", stop_reason="end_turn"),
        "source": "model",
        "model": _MODEL,
        "usage": Usage(input_tokens=142, output_tokens=386),
        "cost_usd": Decimal("0.002072"),
        "saved_usd": Decimal(0),
        "attempts": 1,
        "timing": Timing(
            accepted_at=_ACCEPTED,
            started_at=_ACCEPTED + timedelta(milliseconds=12),
            completed_at=_ACCEPTED + timedelta(milliseconds=850),
            queue_ms=12,
            model_ms=831,
        ),
        "paid_by": _ID,
        "fingerprint": fingerprint_of(REQUEST, _MODEL),
    }
)


def request_record() -> OutgoingRecord:
    """The example request as it stands on its topic."""
    return encode_request(REQUEST, REQUESTS, _TRACEPARENT)


def result_record() -> OutgoingRecord:
    """The result of the example request."""
    return encode_result(RESULT, _TRACEPARENT)


def cancel_record() -> OutgoingRecord:
    """A change of mind about the example request."""
    at = _ACCEPTED + timedelta(seconds=5)
    return encode_cancel(CancelRequest(request_id=_ID, tenant=REQUEST.tenant, by="u-1042", at=at))


def dead_letter_record() -> OutgoingRecord:
    """What becomes of a record that is not JSON."""
    broken = Record(REQUESTS, 4, 1207, None, b"hello", (), 1_793_612_400_000)
    return dead_letter_of(broken, DecodeError("not_json", "the value is not valid JSON"), _ACCEPTED)
