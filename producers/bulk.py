"""A file of requests, line by line: valid ones become requests, the others say their number and why.

JSONL: every line is a PromptRequest without the fields we fill in (`request_id`, `accepted_at`, and `tenant` when the
run gives one). CSV: the columns of NETWORK_COLUMNS make `network-config@1` requests, labelled with their device.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from producers.building import InvalidRequestError, check_template, request_from
from producers.bulk_split import NETWORK_COLUMNS, BulkFileError, CsvRows, JsonLines, RawItem, Splitter
from producers.uuid7 import uuid7_within
from schemas.request import PromptRequest
from schemas.topics import MAX_VALUE_BYTES

_READ_BYTES: Final = 256 * 1024

__all__ = ["NETWORK_COLUMNS", "BulkDefaults", "BulkFileError", "RejectedLine", "fields_of", "requests_in"]


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that makes no request; `number` counts from 1, the header of a CSV file included."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class BulkDefaults:
    """What a line leaves out: its tenant, and the run that its id derives from."""

    tenant: str
    run: UUID


def requests_in(path: Path, defaults: BulkDefaults) -> Iterator[PromptRequest | RejectedLine]:
    """Every line of the file, in order. The same file in the same run gives the same ids. Raises BulkFileError."""
    seen: set[UUID] = set()
    for item in _items_in(path, CsvRows() if path.suffix.lower() == ".csv" else JsonLines()):
        number, fields = item.line, fields_of(item)
        if isinstance(fields, str):
            yield RejectedLine(number, fields)
            continue
        line = _request_or_reason(number, fields, defaults)
        if isinstance(line, PromptRequest) and line.request_id in seen:
            yield RejectedLine(number, "request_id: an earlier line has the same")
        elif isinstance(line, PromptRequest):
            seen.add(line.request_id)
            yield line
        else:
            yield RejectedLine(number, line)


def fields_of(item: RawItem) -> Mapping[str, Any] | str:
    """The fields an item gives, or why there are none."""
    if item.fields is not None:
        return item.fields
    try:
        fields = from_json(item.raw, allow_inf_nan=False)
    except ValueError:
        return "not valid JSON (UTF-8, one object on one line)"
    return fields if isinstance(fields, dict) else "not a JSON object"


def _items_in(path: Path, splitter: Splitter) -> Iterator[RawItem]:
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            yield from splitter.feed(data)
        yield from splitter.end()


def _request_or_reason(number: int, fields: Mapping[str, Any], defaults: BulkDefaults) -> PromptRequest | str:
    identity = uuid7_within(defaults.run, str(number).encode())
    try:
        request = request_from({"request_id": identity, "tenant": defaults.tenant, **fields})
        check_template(request)
    except InvalidRequestError as error:
        return str(error)
    size = len(request.model_dump_json(exclude_none=True).encode())
    return request if size <= MAX_VALUE_BYTES else f"the request has {size} bytes, the limit is {MAX_VALUE_BYTES}"
