"""One record of the results topic as the feed keeps it: whose it is, and its bytes; decoded when somebody wants it."""

from typing import Final

import orjson

from schemas.codec import decode_result
from schemas.dead_letter import DecodeError
from schemas.record import Record
from schemas.result import PromptResult

_KEPT_BYTES: Final = 600
"""What an event takes beside its value, near enough for a bound."""
_JSON: Final = b"application/json"


class ResultEvent:
    """A result that came. Its tenant and request id are those of its headers; without them the value is asked."""

    __slots__ = ("offset", "partition", "record", "request_id", "tenant")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.partition = record.partition
        self.offset = record.offset
        headers = dict(record.headers)
        tenant, request_id = headers.get("ce_subject"), headers.get("ce_id")
        if tenant and request_id:
            self.tenant = tenant.decode(errors="replace")
            self.request_id = request_id.decode(errors="replace")
        else:
            result = _decoded(record)
            self.tenant = "" if result is None else result.tenant
            self.request_id = "" if result is None else str(result.request_id)

    @property
    def size_bytes(self) -> int:
        return len(self.record.value or b"") + _KEPT_BYTES

    def result(self) -> PromptResult | None:
        """Decoded anew each time; None where the record holds none, or another tenant's than its headers say."""
        result = _decoded(self.record)
        return result if result is not None and result.tenant == self.tenant else None

    def data(self, result: PromptResult) -> bytes:
        """The result as JSON on one line: as it was published where that will do."""
        value = self.record.value or b""
        if dict(self.record.headers).get("content-type") == _JSON and b"\n" not in value and b"\r" not in value:
            return value
        return orjson.dumps(orjson.loads(result.model_dump_json(exclude_none=True)))


def _decoded(record: Record) -> PromptResult | None:
    try:
        return decode_result(record)
    except DecodeError:
        return None
