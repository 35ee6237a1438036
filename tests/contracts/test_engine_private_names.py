"""The private names of the pinned engine that we override, replace or call: there, with the shape we count on."""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record import default_records, memory_records
from aiokafka.record.util import decode_varint, encode_varint
from faust import App
from faust.transport.consumer import Consumer as AnyConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types.tuples import ConsumerMessage
from mode.services import Service

from streams import faust_group, tolerant_records
from streams.faust_worker import WorkerApp
from streams.lean_transport import LeanConsumer, LeanTransport


def names_of(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("package", "pinned"), [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("mode-streaming", "0.7.1")]
)
def test_the_versions_are_those_these_names_were_read_in(package: str, pinned: str) -> None:
    assert version(package) == pinned


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "parameters"),
    [
        (LeanConsumer, AnyConsumer, "_drain_messages", ["self", "fetcher"]),
        (LeanConsumer, AnyConsumer, "_wait_next_records", ["self", "timeout"]),
        (LeanConsumer, Consumer, "seek_to_committed", ["self"]),
        (WorkerApp, App, "_new_transport", ["self"]),
        (WorkerApp, App, "_on_partitions_assigned", ["self", "assigned", "generation_id"]),
    ],
)
def test_what_we_override_is_there_with_these_parameters(
    ours: type, theirs: type, name: str, parameters: list[str]
) -> None:
    assert names_of(getattr(theirs, name)) == parameters
    assert names_of(getattr(ours, name)) == parameters
    assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(getattr(theirs, name))


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Consumer, "_commit", ["self", "offsets"]),
        (faust_group, "_refresh_once", ["self", "assignment"]),
        (GroupCoordinator, "_do_fetch_commit_offsets", ["self", "partitions"]),
        (GroupCoordinator, "_push_error_to_user", ["self", "exc"]),
        (AIOKafkaConsumerThread, "_commit", ["self", "offsets"]),
        (Consumer, "perform_seek", ["self"]),
        (AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (AIOKafkaConsumerThread, "call_thread", ["self", "fun", "args", "kwargs"]),
        (Consumer, "_get_active_partitions", ["self"]),
        (Consumer, "wait_first", ["self", "coros", "timeout"]),
    ],
)
def test_what_we_call_is_there_with_these_parameters(owner: object, name: str, parameters: list[str]) -> None:
    assert names_of(getattr(owner, name)) == parameters


def test_what_we_replace_of_the_coordinator_is_replaced_in_it() -> None:
    faust_group.install()
    assert GroupCoordinator._maybe_refresh_commit_offsets is faust_group._refresh
    assert faust_group._refresh_once.__name__ == "_maybe_refresh_commit_offsets"


def test_an_error_that_the_coordinator_keeps_stands_where_we_look() -> None:
    assert "self._pending_exception = exc" in inspect.getsource(GroupCoordinator._push_error_to_user)


@pytest.mark.parametrize(
    "name", ["_read_offset", "_buffered_partitions", "suspend_flow", "flow_active", "consumer_stopped_errors"]
)
def test_what_we_read_of_the_consumer_is_declared_by_it(name: str) -> None:
    assert any(name in vars(owner) or name in vars(owner).get("__annotations__", {}) for owner in Consumer.__mro__)


def test_a_commit_says_whether_the_partitions_were_still_ours() -> None:
    assert inspect.iscoroutinefunction(Consumer._commit)
    source = inspect.getsource(AIOKafkaConsumerThread._commit)
    assert '"already rebalanced"' in source
    assert "return False" in source


def test_a_service_has_an_event_for_its_crash() -> None:
    assert "_crashed" in Service.__annotations__
    assert "_stopped" in Service.__annotations__
    assert "self._crashed.set()" in inspect.getsource(Service)


def test_the_transport_makes_the_consumer_it_names() -> None:
    assert issubclass(LeanTransport, Transport)
    assert LeanTransport.Consumer is LeanConsumer
    assert Transport.Consumer is Consumer
    assert "self._new_transport()" in inspect.getsource(App)
    assert "self.Consumer(" in inspect.getsource(inspect.getmodule(Transport.create_consumer) or Transport)


def test_a_message_carries_what_we_put_into_it() -> None:
    expected = ["topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum"]
    assert [name for name in names_of(ConsumerMessage.__init__) if name in expected] == expected
    assert {"tp", "generation_id"} <= set(names_of(ConsumerMessage.__init__))


def test_the_fetcher_reads_through_the_name_we_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    assert "MemoryRecords(" in inspect.getsource(fetcher.Fetcher)
    tolerant_records.install()
    assert fetcher.MemoryRecords is tolerant_records.TolerantRecords


def test_the_fetcher_asks_of_a_chunk_and_a_batch_only_what_we_offer() -> None:
    assert {"has_next", "next_batch", "size_in_bytes"} <= set(dir(tolerant_records.TolerantRecords))
    read = inspect.getsource(fetcher.PartitionRecords)
    for asked in (
        "validate_crc()",
        "producer_id",
        "is_control_batch",
        "is_transactional",
        "base_offset",
        "next_offset",
    ):
        assert f"next_batch.{asked}" in read
    assert "for record in next_batch" in read
    assert "next(next_batch)" in read


def test_a_missing_codec_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    monkeypatch.setattr(codec, "has_zstd", lambda: False)
    with pytest.raises(tolerant_records.MissingCodecError, match=r"with zstd cannot be read; run: pip install cramjam"):
        tolerant_records.install()


def test_the_plain_python_reader_looks_one_batch_ahead() -> None:
    reader = memory_records._MemoryRecordsPy(b"")
    assert reader._next_slice is None
    assert names_of(reader._cache_next)[:1] == ["len_offset"]
    assert memory_records._MemoryRecordsPy.MAGIC_OFFSET == 16


def test_the_plain_python_batch_reads_record_by_record() -> None:
    builder = default_records.DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**16)
    builder.append(0, 1_000, b"key", b"value", [])
    batch = default_records._DefaultRecordBatchPy(bytes(builder.build()))
    batch._maybe_uncompress()
    assert batch._num_records == 1
    start = batch._pos
    record = batch._read_msg()
    assert (record.key, record.value) == (b"key", b"value")
    length, body = decode_varint(batch._buffer, start)
    assert batch._pos == body + length == len(batch._buffer)


def test_a_plain_python_record_takes_what_we_give_it() -> None:
    record = default_records._DefaultRecordPy(7, 1_000, 0, b"key", None, [("name", b"text")])
    assert (record.offset, record.timestamp, record.timestamp_type, record.checksum) == (7, 1_000, 0, None)
    assert (record.key, record.value, record.headers) == (b"key", None, [("name", b"text")])


@pytest.mark.parametrize("number", [0, 1, -1, 63, -64, 64, 300, -300, 2**31 - 1, -(2**31), 2**40])
def test_a_variable_length_number_is_read_as_written(number: int) -> None:
    written = bytearray()
    encode_varint(number, written.append)
    assert decode_varint(written, 0) == (number, len(written))
