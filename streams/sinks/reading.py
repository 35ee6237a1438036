"""From records to what a store keeps of them: many at once where they are alike, one by one where they are not."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from schemas.codec import decode_request, decode_result
from schemas.dead_letter import DecodeError
from schemas.record import Record, columns_of
from schemas.request import PromptRequest
from schemas.topics import RESULTS
from streams.sinks.plain_results import plain_columns
from streams.sinks.port import BadRow, Chunk, ResultStore
from streams.sinks.result_fields import fields_of, turned

Refused = tuple[Record, DecodeError]


class Reading(NamedTuple):
    """What became of records, each in one of the two; of a request that nobody keeps, in neither."""

    chunks: list[Chunk]
    refused: list[Refused]


def read(records: Sequence[Record], store: ResultStore) -> Reading:
    """The store's rows of what can be kept, and why the rest cannot."""
    reading = Reading([], [])
    at = 0
    for topic, of_it in groupby(columns_of(records).topic):
        begin, at = at, at + len(list(of_it))
        if topic == RESULTS:
            _read_results(records[begin:at], store, reading)
        else:
            _read_requests(records[begin:at], store, reading)
    return reading


def _read_results(records: Sequence[Record], store: ResultStore, reading: Reading) -> None:
    """All of them in one go; where one is not as the others, each half of them."""
    chunk = _alike(records, store)
    if chunk is not None:
        reading.chunks.append(chunk)
    elif len(records) == 1:
        _read_one(records[0], store, reading)
    else:
        middle = len(records) // 2
        _read_results(records[:middle], store, reading)
        _read_results(records[middle:], store, reading)


def _alike(records: Sequence[Record], store: ResultStore) -> Chunk | None:
    columns = plain_columns(records)
    try:
        return None if columns is None else Chunk(records, store.results(records, columns))
    except BadRow:
        return None  # whose it is, is found where each stands alone


def _read_one(record: Record, store: ResultStore, reading: Reading) -> None:
    try:
        columns = turned([fields_of(decode_result(record))])
        reading.chunks.append(Chunk([record], store.results([record], columns)))
    except DecodeError as error:
        reading.refused.append((record, error))
    except BadRow as error:
        reading.refused.append((record, refused_by_store(error)))


def refused_by_store(error: BadRow) -> DecodeError:
    return DecodeError("refused_by_store", str(error))


def _read_requests(records: Sequence[Record], store: ResultStore, reading: Reading) -> None:
    found = [(record, request) for record in records if (request := _request(record)) is not None]
    readable, requests = [record for record, _ in found], [request for _, request in found]
    rows = store.requests(readable, requests) if found else None
    if rows is not None:
        reading.chunks.append(Chunk(readable, rows))


def _request(record: Record) -> PromptRequest | None:
    """None where it cannot be read: it is the worker's, who sets it aside and answers for it."""
    try:
        return decode_request(record)
    except DecodeError:
        return None
