"""Checks of a stack that runs, or of the ports one would take."""

import json
from collections.abc import Iterator

from ops.local import clickhouse, gateway, kafka, postgres, rehearsal, valkey
from ops.local.checks import Check
from ops.local.home import Home
from ops.local.ports import accepts_connections
from ops.local.status import status_of
from schemas.topics import TOPICS

_USUAL_PORTS = {
    "kafka": kafka.USUAL_PORT,
    "valkey": valkey.USUAL_PORT,
    "postgres": postgres.USUAL_PORT,
    "clickhouse": clickhouse.USUAL_PORT,
    "rehearsal": rehearsal.USUAL_PORT,
    "gateway": gateway.USUAL_PORT,
}


def stack_checks(home: Home) -> Iterator[Check]:
    """One check per part and one of the topics while the stack runs; else one of the ports."""
    status = status_of(home)
    if status is None:
        yield _ports()
        return
    for part in status.parts:
        detail = f"{part.address}, {part.restarts} restarts"
        yield Check(f"part {part.name}", part.healthy, detail, f"headrace logs {part.name}")
    yield _topics(home)


def _ports() -> Check:
    taken = [f"{name} ({port})" for name, port in _USUAL_PORTS.items() if accepts_connections(port)]
    detail = f"taken: {', '.join(taken)}; free ones are chosen instead" if taken else "the usual ones are free"
    return Check("ports", ok=True, detail=detail)


def _topics(home: Home) -> Check:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        bootstrap = json.loads(home.endpoints.read_text())["kafka"]
        listed = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=5).topics
    except (OSError, ValueError, KeyError, KafkaException) as error:
        return Check(
            "topics", ok=False, detail=f"Kafka does not answer: {type(error).__name__}", fix="headrace logs kafka"
        )
    wrong = [
        topic.name for topic in TOPICS if len(getattr(listed.get(topic.name), "partitions", ())) != topic.partitions
    ]
    detail = f"not as declared: {', '.join(wrong)}" if wrong else f"all {len(TOPICS)} as declared"
    return Check("topics", not wrong, detail, "headrace topics diff")
