"""The servers that every other integration test stands on."""

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]


def test_kafka_keeps_a_record_above_the_usual_size(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    topic = NewTopic("large-records", 1, config={"max.message.bytes": "4194304"})
    admin.create_topics([topic])["large-records"].result(10)
    producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 4_194_304, "allow.auto.create.topics": False})
    producer.produce("large-records", b"x" * 3_500_000)
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "large-records", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe(["large-records"])
        record = consumer.poll(10)
        assert record is not None
        assert len(record.value() or b"") == 3_500_000
    finally:
        consumer.close()


def test_kafka_makes_no_topic_by_itself(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.list_topics("misspelt", timeout=10)
    assert "misspelt" not in admin.list_topics(timeout=10).topics


def test_valkey_asks_for_its_password(redis_url: str) -> None:
    assert redis.Redis.from_url(redis_url).ping()
    without_password = "redis://" + redis_url.partition("@")[2]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(without_password).ping()


def test_valkey_evicts_nothing(redis_url: str) -> None:
    assert redis.Redis.from_url(redis_url).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_postgres_asks_for_its_password(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_dsn, password="wrong")
