"""A reader whose membership another has taken can read no more: it says so and ends, instead of waiting for ever."""

import contextlib
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from confluent_kafka import KafkaException

from ops.topics import apply_topics
from schemas.topics import RESULTS
from streams.retries.kafka_source import KafkaRetrySource, RetryMember
from streams.sinks.kafka_source import GroupSettings, KafkaSource

WAIT_SECONDS = 40
Opened = Callable[[str, str], contextlib.AbstractContextManager[KafkaSource | KafkaRetrySource]]


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: str) -> None:
    apply_topics(kafka)


@contextlib.contextmanager
def sink_source(kafka: str, group: str) -> Iterator[KafkaSource]:
    source = KafkaSource(GroupSettings(kafka, group, (RESULTS,), 6, "the-only-one"))
    source.subscribe(ignore_revoked)
    with contextlib.closing(source):
        yield source


@contextlib.contextmanager
def retry_source(kafka: str, group: str) -> Iterator[KafkaRetrySource]:
    source = KafkaRetrySource(RetryMember(kafka, 6, "the-only-one", group))
    source.subscribe(lambda _: None, ignore_revoked, lambda _: None)
    with contextlib.closing(source):
        yield source


def ignore_revoked(partitions: object, *, lost: bool = False) -> None:
    """What was held is nobody's concern here."""


@pytest.mark.parametrize("opened", [sink_source, retry_source])
def test_a_reader_whose_membership_was_taken_ends(kafka: str, opened: Opened) -> None:
    group = f"fenced-{uuid4()}"
    with opened(kafka, group) as first, opened(kafka, group) as second, pytest.raises(KafkaException, match="fenced"):
        read_both(first, second)


def read_both(*sources: KafkaSource | KafkaRetrySource) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        for source in sources:
            source.read(10, 0.1)
