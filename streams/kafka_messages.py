"""What every confluent-kafka consumer of ours does alike: Records of messages, and what the client's errors mean."""

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from threading import Thread
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from producers.kafka_access import explained
from schemas.record import Headers, RecordColumns, Records
from streams.logs import Logger, logger_named

_FIELDS: Final = (
    *(Message.topic, Message.partition, Message.offset, Message.key, Message.value),
    *(Message.headers, Message.timestamp),
)
_CLOSE_SECONDS: Final = 8.0
_READ_OUT_RECORDS: Final = 1_000
_READ_OUT_SECONDS: Final = 0.02
_log = logger_named("kafka")


class MessageReader:
    """Records of messages, errors apart. Each error is told once: the client repeats itself until it is well again."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._told: str | None = None

    def records_of(self, messages: Sequence[Message]) -> Records:
        """Raises KafkaException where the client cannot go on."""
        good = [message for message in messages if message.error() is None]
        if len(good) < len(messages):
            for message in messages:
                if (error := message.error()) is not None:
                    self.tell(error)
        return _records(good)

    def tell(self, error: KafkaError) -> None:
        """Raises KafkaException where the client cannot go on."""
        # Read from a consumer, a fatal error does not call itself fatal: it comes as an event of this code.
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
            raise KafkaException(error)
        if error.str() != self._told:
            self._told = error.str()
            self._log.warning("the broker does not answer", error=explained(error))


def leave_group(consumer: Consumer) -> None:
    """Close `consumer`, so that others take over at once; in bounded time. What it had fetched is for them.

    The group is left, and its events are read, before the client closes. Closed with an assignment that nobody has
    read, confluent-kafka (2.16.0) asks a group that has ended for its protocol, and waits for the answer with the
    interpreter's lock: every thread of the process stands still, for ever.
    """
    deadline = time.monotonic() + _CLOSE_SECONDS
    with contextlib.suppress(KafkaException, RuntimeError):  # it is fenced, or closed already
        consumer.unsubscribe()
        while _reads_out(consumer) and time.monotonic() < deadline:
            pass
    closing = Thread(target=consumer.close, name="closing", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)
    if closing.is_alive():
        _log.warning("the client does not close", next_step="none; it ends with the process")


def _reads_out(consumer: Consumer) -> bool:
    """Whether there may be more events; a rebalance is under way while something is assigned."""
    return bool(consumer.consume(_READ_OUT_RECORDS, _READ_OUT_SECONDS)) or bool(consumer.assignment())


def _records(messages: Sequence[Message]) -> Records:
    """Field by field, as a loop over one field is a loop in C."""
    topic, partition, offset, key, value, headers, timestamp = map(partial(_of_each, messages), _FIELDS)
    tuples: list[Headers] = [tuple(each or ()) for each in headers]
    timestamps_ms = [timestamp_ms for _, timestamp_ms in timestamp]
    unset = [0] * len(messages), [None] * len(messages)
    return Records(RecordColumns(topic, partition, offset, key, value, tuples, timestamps_ms, *unset))


def _of_each(messages: Sequence[Message], field: Any) -> list[Any]:
    return list(map(field, messages))
