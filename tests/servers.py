"""Where tests get their servers: containers where an engine answers, else the local stack. The one place that knows."""

import contextlib
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ops.local.testing import ServerName, local_servers


@contextlib.contextmanager
def server(name: ServerName, home: Path) -> Iterator[str]:
    """One real server, as the connection string a standard client takes."""
    if name != "model" and engine_answers():
        with _container(name) as endpoint:
            yield endpoint
    else:
        with local_servers(home, {name}) as endpoints:
            endpoint = getattr(endpoints, name)
            assert endpoint is not None
            yield endpoint


@functools.cache
def engine_answers() -> bool:
    """Whether a Docker engine is there to run containers."""
    try:
        asked = subprocess.run(["docker", "version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@contextlib.contextmanager
def _container(name: ServerName) -> Iterator[str]:
    match name:
        case "kafka":
            from testcontainers.community.kafka import KafkaContainer

            broker = KafkaContainer().with_kraft()
            # As strict as the local stack's: no topic by itself, and room for a dead letter.
            broker.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false").with_env("KAFKA_MESSAGE_MAX_BYTES", "5242880")
            with broker as kafka:
                yield kafka.get_bootstrap_server()
        case "redis":
            from testcontainers.community.redis import RedisContainer

            with RedisContainer("valkey/valkey:9.1-alpine", password="of-a-test") as redis:
                yield f"redis://:of-a-test@{redis.get_container_host_ip()}:{redis.get_exposed_port(6379)}/0"
        case "postgres":
            from testcontainers.community.postgres import PostgresContainer

            with PostgresContainer("pgvector/pgvector:pg18", driver=None) as postgres:
                yield postgres.get_connection_url()
        case "clickhouse":
            from testcontainers.community.clickhouse import ClickHouseContainer

            with ClickHouseContainer("clickhouse/clickhouse-server:26.8", port=8123) as clickhouse:
                address = f"{clickhouse.get_container_host_ip()}:{clickhouse.get_exposed_port(8123)}"
                yield f"http://{clickhouse.username}:{clickhouse.password}@{address}"
        case _:
            raise AssertionError(name)
