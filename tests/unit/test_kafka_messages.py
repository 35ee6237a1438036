"""Records of a client's messages, and which of its errors end a consumer."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from structlog.testing import capture_logs

from schemas.codec import encode_result
from schemas.record import Record
from streams.kafka_messages import MessageReader
from streams.logs import logger_named
from tests.sinks import a_result


def a_message(**given: Any) -> Message:
    fields: dict[str, Any] = {"topic": "llm.results", "partition": 3, "offset": 41, "key": b"k", "value": b"{}"}
    return Message(**(fields | {"timestamp": (1, 1_000)} | given))


def reader() -> MessageReader:
    return MessageReader(logger_named("test"))


@pytest.mark.parametrize(
    "headers",
    [
        encode_result(a_result()).headers,
        (("traceparent", None), ("ce_id", b"")),
        tuple(reversed(encode_result(a_result()).headers)),
        (),
    ],
)
def test_a_record_is_its_message_field_by_field(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    (record,) = reader().records_of([a_message(headers=list(headers))])
    assert record == Record("llm.results", 3, 41, b"k", b"{}", headers, 1_000)
    assert isinstance(record, Record)


def test_a_record_may_have_no_headers_no_key_and_no_value() -> None:
    (record,) = reader().records_of([a_message(key=None, value=None)])
    assert record == Record("llm.results", 3, 41, None, None, (), 1_000)


def test_records_beside_an_error_are_kept_in_their_order() -> None:
    broken = Message(error=KafkaError(KafkaError._TRANSPORT))
    records = reader().records_of([a_message(offset=1), broken, a_message(offset=2)])
    assert [record.offset for record in records] == [1, 2]


def test_an_error_that_goes_on_is_told_once() -> None:
    down, other = KafkaError(KafkaError._TRANSPORT), KafkaError(KafkaError._ALL_BROKERS_DOWN)
    with capture_logs() as told:
        one = reader()
        for error in (down, down, other, other):
            one.tell(error)
    assert [event["error"] for event in told] == [down.str(), other.str()]


@pytest.mark.parametrize("error", [KafkaError(KafkaError._FATAL), KafkaError(KafkaError._FENCED, fatal=True)])
def test_an_error_the_client_cannot_go_on_from_is_raised(error: KafkaError) -> None:
    with pytest.raises(KafkaException):
        reader().records_of([a_message(), Message(error=error)])
