"""Schema ids of a Confluent registry on our records: in a header, or in front of the value. Off unless switched on.

The header's form is the newer one (`__value_schema_id`: a one and the schema's GUID) and leaves the value plain JSON.
The prefix (a zero and a number of four bytes) is what most clients with a registry write. Both are read, always.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from schemas.record import OutgoingRecord

SCHEMA_ID_HEADER: Final = "__value_schema_id"

Framing = Literal["none", "header", "prefix"]
Frame = Callable[[OutgoingRecord], OutgoingRecord]
"""Puts the schema's id on a record, where its topic has one."""

_NUMBER: Final = 0
_GUID: Final = 1
_PREFIX_BYTES: Final = {_NUMBER: 5, _GUID: 17}


class NoGuidError(RuntimeError):
    """The registry names schemas by number alone, which no header can carry."""

    def __init__(self) -> None:
        super().__init__(
            "this schema registry gives no GUIDs (Confluent's do from 8.0 on): set "
            "HEADRACE_SCHEMA_REGISTRY_FRAMING=prefix, or none"
        )


@dataclass(frozen=True, slots=True)
class SchemaId:
    """What a registry calls one schema."""

    number: int
    guid: UUID | None = None

    def header_value(self) -> bytes:
        """Raises NoGuidError."""
        if self.guid is None:
            raise NoGuidError
        return bytes((_GUID,)) + self.guid.bytes

    def prefix(self) -> bytes:
        return bytes((_NUMBER,)) + self.number.to_bytes(4, "big")


def framing_with(ids: Mapping[str, SchemaId], framing: Literal["header", "prefix"]) -> Frame:
    """A Frame that knows the id of each topic's schema. Raises NoGuidError."""
    marks = {topic: each.header_value() if framing == "header" else each.prefix() for topic, each in ids.items()}

    def frame(record: OutgoingRecord) -> OutgoingRecord:
        mark = marks.get(record.topic)
        # A record that goes on as it came keeps the frame it came with.
        if mark is None or not record.value or is_framed(record):
            return record
        if framing == "header":
            return record._replace(headers=(*record.headers, (SCHEMA_ID_HEADER, mark)))
        return record._replace(value=mark + record.value)

    return frame


def is_framed(record: OutgoingRecord) -> bool:
    value = record.value or b""
    return value[:1] in {b"\x00", b"\x01"} or any(name == SCHEMA_ID_HEADER for name, _ in record.headers)


def unframed(value: bytes) -> bytes:
    """The value without a prefix; JSON begins with neither of the two bytes that a prefix begins with."""
    length = _PREFIX_BYTES.get(value[0]) if value else None
    return value if length is None or len(value) <= length else value[length:]
