"""A client that ends leaves its group in bounded time, whatever its group is about to tell it.

Closed straight away with an assignment unread, a static member freezes its whole process, timeouts of tests included.
"""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from ops.topics import apply_topics
from schemas.topics import RESULTS
from streams.kafka_messages import leave_group
from streams.subscribe import ResultSubscriber
from tests.pipeline import until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def admin(kafka: str) -> AdminClient:
    apply_topics(kafka)
    return AdminClient({"bootstrap.servers": kafka})


def holds_partitions(admin: AdminClient, group: str) -> bool:
    try:
        described = admin.describe_consumer_groups([group])[group].result(10)
    except KafkaException:
        return False  # the coordinator of the first group is only coming up
    return any(member.assignment.topic_partitions for member in described.members)


def no_callbacks(consumer: Consumer) -> None:
    consumer.subscribe([RESULTS])


def callbacks(consumer: Consumer) -> None:
    told: Callable[..., None] = lambda *_: None  # noqa: E731
    consumer.subscribe([RESULTS], on_assign=told, on_revoke=told, on_lost=told)


@pytest.mark.parametrize("subscribe", [no_callbacks, callbacks])
@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_with_an_assignment_unread(
    kafka: str, admin: AdminClient, subscribe: Callable[[Consumer], None], strategy: str
) -> None:
    group = f"leaving-{uuid4()}"
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": group,
            "group.instance.id": "the-only-one",
            "partition.assignment.strategy": strategy,
        }
    )
    subscribe(consumer)
    try:
        until(lambda: holds_partitions(admin, group))
    finally:
        leave_group(consumer)
    assert not [thread for thread in threading.enumerate() if thread.name == "closing"]


def test_a_subscriber_that_never_read(kafka: str, admin: AdminClient) -> None:
    group = f"leaving-{uuid4()}"
    with ResultSubscriber(kafka, group=group):
        until(lambda: holds_partitions(admin, group))
    until(lambda: not holds_partitions(admin, group), 5)
