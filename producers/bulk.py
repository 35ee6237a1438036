"""A file of requests, line by line: valid ones become requests, the others say their number and why.

JSONL: every line is a PromptRequest without the fields we fill in (`request_id`, `accepted_at`, and `tenant` when the
run gives one). CSV: the columns of NETWORK_COLUMNS make `network-config@1` requests, labelled with their device.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from producers.building import InvalidRequestError, check_template, request_from
from producers.uuid7 import uuid7_within
from schemas.request import PromptRequest
from schemas.templates.network_config import NETWORK_CONFIG
from schemas.topics import MAX_VALUE_BYTES

_VARIABLES: Final = tuple(sorted(NETWORK_CONFIG.required | NETWORK_CONFIG.optional))
_FIELDS: Final = ("tenant", "department", "user_id", "application", "model", "max_tokens", "deadline", "request_id")
NETWORK_COLUMNS: Final = (*_VARIABLES, *_FIELDS)
"""The columns a CSV file may have; it must have those that the template requires. An empty cell is no value."""


class BulkFileError(ValueError):
    """The file as a whole cannot be used; the message says what to change."""


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
    lines = _csv_fields(path) if path.suffix.lower() == ".csv" else _jsonl_fields(path)
    seen: set[UUID] = set()
    for number, fields in lines:
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


def _request_or_reason(number: int, fields: Mapping[str, Any], defaults: BulkDefaults) -> PromptRequest | str:
    identity = uuid7_within(defaults.run, str(number).encode())
    try:
        request = request_from({"request_id": identity, "tenant": defaults.tenant, **fields})
        check_template(request)
    except InvalidRequestError as error:
        return str(error)
    size = len(request.model_dump_json(exclude_none=True).encode())
    return request if size <= MAX_VALUE_BYTES else f"the request has {size} bytes, the limit is {MAX_VALUE_BYTES}"


def _jsonl_fields(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield number, _object_in(text)


def _object_in(line: bytes) -> dict[str, Any] | str:
    try:
        fields = from_json(line, allow_inf_nan=False)
    except ValueError:
        return "not valid JSON (UTF-8, one object on one line)"
    return fields if isinstance(fields, dict) else "not a JSON object"


def _csv_fields(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        _check_columns(rows.fieldnames or [])
        yield from _rows(rows)


def _rows(rows: "csv.DictReader[str]") -> Iterator[tuple[int, dict[str, Any] | str]]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.line_num, f"not valid CSV ({error})"
            continue
        # A quoted cell may span lines: the row's number is that of its first.
        spanned = sum(cell.count("\n") for cell in row.values() if isinstance(cell, str))
        yield rows.line_num - spanned, _fields_of_row(row)


def _check_columns(columns: Sequence[str]) -> None:
    known = ", ".join(NETWORK_COLUMNS)
    if missing := sorted(NETWORK_CONFIG.required - set(columns)):
        raise BulkFileError(f"the header lacks {', '.join(missing)}; the columns are {known}")
    if unknown := [column for column in columns if column not in NETWORK_COLUMNS]:
        raise BulkFileError(f"the header has {len(unknown)} column(s) of another name; the columns are {known}")


def _fields_of_row(row: Mapping[str | Any, Any]) -> dict[str, Any] | str:
    if None in row or None in row.values():
        return "the row has more or fewer cells than the header"
    if any("\udc80" <= character <= "\udcff" for cell in row.values() for character in cell):
        return "not valid UTF-8"
    given = {column: cell for column, cell in row.items() if cell.strip()}
    fields: dict[str, Any] = {name: given[name] for name in _FIELDS if name in given}
    variables = {name: given[name] for name in _VARIABLES if name in given}
    labels = {"device_name": given["device_name"]} if len(given.get("device_name", "")) in range(1, 257) else {}
    return {**fields, "template": NETWORK_CONFIG.reference, "variables": variables, "labels": labels}
