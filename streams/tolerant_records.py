"""Reads a fetched chunk of a partition so that one broken record costs only itself (research/faust.md, D3).

aiokafka raises for a whole batch when it cannot parse one record of it, and Faust then ends the process. Here what
cannot be parsed becomes a record that carries the marker header `READ_ERROR_HEADER`; it ends as a dead letter.
Installed by `install`, which replaces one module global of the pinned aiokafka; a contract test holds it.
"""

from collections.abc import Iterator
from typing import Any, Final

from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py

READ_ERROR_HEADER: Final = "x-headrace-read-error"
_FIRST_RECORD_BATCH_MAGIC: Final = 2


class MissingCodecError(RuntimeError):
    """A codec that Kafka clients use cannot be read here."""


def install() -> None:
    """Make every consumer of this process tolerant. Raises MissingCodecError with what to install."""
    missing = [name for name in ("gzip", "snappy", "lz4", "zstd") if not getattr(codec, f"has_{name}")()]
    if missing:
        raise MissingCodecError(
            f"records compressed with {', '.join(missing)} cannot be read; run: pip install cramjam"
        )
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """The batches of one fetched chunk, in the shape aiokafka's fetcher expects."""

    def __init__(self, chunk: bytes) -> None:
        self._slices = _MemoryRecordsPy(chunk)

    def size_in_bytes(self) -> int:
        return int(self._slices.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._slices.has_next())

    def next_batch(self) -> Any:
        batch = bytes(self._slices._next_slice)  # noqa: SLF001 - the pinned reader's own look-ahead
        self._slices._cache_next()  # noqa: SLF001
        magic = batch[_MemoryRecordsPy.MAGIC_OFFSET]
        return TolerantBatch(batch) if magic >= _FIRST_RECORD_BATCH_MAGIC else LegacyRecordBatch(batch, magic)


class TolerantBatch:
    """One record batch. The fast reader is tried first; only a batch it refuses is read record by record."""

    def __init__(self, batch: bytes) -> None:
        self._bytes = batch
        self._fast = DefaultRecordBatch(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def validate_crc(self) -> bool:
        """True for the fetcher; a mismatch is found again, and told, when the batch is read."""
        return True

    def __next__(self) -> Any:
        """The fetcher looks into a control batch this way when it reads committed transactions only."""
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        if not self._fast.validate_crc():
            return iter([self._unreadable("the batch's checksum does not match")])
        try:
            return iter(list(self._fast))
        except Exception:  # noqa: BLE001 - whatever the reader refuses is told apart below
            return self._one_by_one()

    def _one_by_one(self) -> Iterator[Any]:
        batch = _DefaultRecordBatchPy(self._bytes)
        try:
            batch._maybe_uncompress()  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - any codec's own error
            yield self._unreadable(f"the batch cannot be decompressed ({type(error).__name__})")
            return
        following = batch.base_offset
        for number in range(1, batch._num_records + 1):  # noqa: SLF001
            try:
                record = _next_record(batch)
            except Exception:  # noqa: BLE001 - a corrupt record raises anything
                yield self._unreadable(f"records from number {number} of the batch on cannot be parsed", following)
                return
            yield record
            following = record.offset + 1

    def _unreadable(self, why: str, first: int | None = None) -> Any:
        """One record for the rest of the batch, at its last offset: a fetch that begins within the batch sees it too,
        and what is committed after it is the offset of the next batch.
        """
        first, last = self._fast.base_offset if first is None else first, self._fast.next_offset - 1
        why = f"{why}; offsets {first} to {last} of this partition are in this one record"
        return _marked(last, self._fast.first_timestamp, None, self._bytes, why)


def _next_record(batch: Any) -> Any:
    start = batch._pos  # noqa: SLF001
    try:
        # Not the compiled one, its default: that one reads past the buffer, and a worker dies of a segmentation fault.
        return batch._read_msg(decode_varint_py)  # noqa: SLF001
    except Exception:  # noqa: BLE001 - a name that is not UTF-8 raises as anything else does
        return _without_headers(batch, start)


def _without_headers(batch: Any, start: int) -> Any:
    """The record at `start`, its headers left out. Raises ValueError where its other parts do not fit."""
    buffer = batch._buffer  # noqa: SLF001
    length, body = decode_varint_py(buffer, start)
    _, position = decode_varint_py(buffer, body)
    timestamp_delta, position = decode_varint_py(buffer, position)
    offset_delta, position = decode_varint_py(buffer, position)
    key, position = _bytes_at(buffer, position)
    value, position = _bytes_at(buffer, position)
    if not (position <= body + length <= len(buffer) and 0 <= offset_delta <= batch.last_offset_delta):
        raise ValueError("not a record")
    batch._pos = body + length  # noqa: SLF001
    timestamp = batch.first_timestamp + timestamp_delta
    why = "the record's headers cannot be parsed; a header's name must be UTF-8"
    return _marked(batch.base_offset + offset_delta, timestamp, key, value, why)


def _bytes_at(buffer: bytearray, position: int) -> tuple[bytes | None, int]:
    length, position = decode_varint_py(buffer, position)
    return (None, position) if length < 0 else (bytes(buffer[position : position + length]), position + length)


def _marked(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None, why: str) -> Any:
    return _DefaultRecordPy(offset, timestamp_ms, 0, key, value, [(READ_ERROR_HEADER, why.encode())])
