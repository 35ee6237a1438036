import time
from dataclasses import replace
from uuid import uuid4

import pytest

from ops.topics import ClusterUnreachableError, apply_topics, diff_topics
from schemas.topics import TOPICS, Topic


@pytest.fixture
def topic() -> Topic:
    return Topic(f"test-{uuid4()}", partitions=2, retention_ms=3_600_000, max_message_bytes=1_000_000, purpose="a test")


def test_the_declared_topics_are_created_and_then_as_declared(kafka: str) -> None:
    apply_topics(kafka)
    assert diff_topics(kafka) == []
    assert {difference.topic for difference in apply_topics(kafka).changed} == set()


def test_applying_to_a_cluster_that_is_up_to_date_takes_less_than_a_second(kafka: str) -> None:
    apply_topics(kafka)
    began = time.monotonic()
    apply_topics(kafka)
    assert time.monotonic() - began < 1


def test_a_missing_topic_is_named(kafka: str, topic: Topic) -> None:
    assert [(one.topic, one.setting, one.have) for one in diff_topics(kafka, topics=[topic])] == [
        (topic.name, "topic", None)
    ]


def test_a_changed_setting_and_more_partitions_are_named_and_applied(kafka: str, topic: Topic) -> None:
    apply_topics(kafka, topics=[topic])
    wanted = replace(topic, partitions=5, retention_ms=7_200_000)
    told = {(one.setting, one.have, one.want) for one in diff_topics(kafka, topics=[wanted])}
    assert told == {("partitions", "2", "5"), ("retention.ms", "3600000", "7200000")}
    apply_topics(kafka, topics=[wanted])
    assert diff_topics(kafka, topics=[wanted]) == []


def test_fewer_partitions_and_more_copies_are_told_and_left_alone(kafka: str, topic: Topic) -> None:
    apply_topics(kafka, topics=[topic])
    applied = apply_topics(kafka, replication=3, topics=[replace(topic, partitions=1)])
    assert applied.changed == []
    # Two replicas in sync of one copy would refuse every write, so that waits for the copies.
    assert {one.setting for one in applied.remaining} == {"partitions", "replication", "min.insync.replicas"}


def test_two_that_apply_at_once_both_succeed(kafka: str, topic: Topic) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: apply_topics(kafka, topics=[topic]), range(4)))) == 4
    assert diff_topics(kafka, topics=[topic]) == []


def test_a_cluster_that_does_not_answer_is_told_with_its_address() -> None:
    with pytest.raises(ClusterUnreachableError, match=r"127\.0\.0\.1:1 .*headrace status"):
        diff_topics("127.0.0.1:1", topics=TOPICS[:1])
