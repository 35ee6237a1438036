"""Who may do what on the cluster: one role per process, exactly what it needs; ``headrace topics acl apply`` grants it.

Kafka implies the right to describe a topic or group from the right to read or write it, and an idempotent producer
needs no right on the cluster since Kafka 3.0. So neither is listed.
"""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.topics import BULK_REQUESTS, CONTROL, DEAD_LETTERS, REQUESTS, RESULTS, RETRY

Resource = Literal["topic", "group", "cluster"]
Operation = Literal["read", "write", "create", "delete", "alter", "describe", "describe_configs", "alter_configs"]
RoleName = Literal[
    "producer", "gateway", "worker", "retries", "sink-clickhouse", "sink-postgres", "subscriber", "operator"
]

SUBSCRIBER_GROUPS: Final = "headrace-subscriber-"
"""Subscribers name their group with this prefix on a cluster with ACLs."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Operations on one resource, or with `prefixed` on all whose name begins so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of process may do; its user is `headrace-<name>` unless the cluster names it otherwise."""

    name: RoleName
    purpose: str
    grants: tuple[Grant, ...]

    @property
    def usual_user(self) -> str:
        return f"headrace-{self.name}"


def _read(*topics: str) -> tuple[Grant, ...]:
    return tuple(Grant("topic", topic, ("read",)) for topic in topics)


def _write(*topics: str) -> tuple[Grant, ...]:
    return tuple(Grant("topic", topic, ("write",)) for topic in topics)


def _group(name: str, *, prefixed: bool = False) -> Grant:
    return Grant("group", name, ("read",), prefixed)


# What measures lag asks what the pipeline's groups have committed.
_SEE_GROUPS: Final = Grant("group", "headrace-", ("describe",), prefixed=True)
_SUBSCRIBE: Final = (*_read(RESULTS), _group(SUBSCRIBER_GROUPS, prefixed=True))

ROLES: Final[tuple[Role, ...]] = (
    Role("producer", "An upstream system: requests and cancellations.", _write(REQUESTS, BULK_REQUESTS, CONTROL)),
    Role("subscriber", "A downstream system: the results of every tenant.", _SUBSCRIBE),
    Role(
        "gateway",
        "Both of these for callers by HTTP, and the lag that backpressure goes by.",
        (
            *_write(REQUESTS, BULK_REQUESTS, CONTROL),
            *_read(RESULTS),
            _group("headrace-feed-", prefixed=True),
            _SEE_GROUPS,
        ),
    ),
    Role(
        "worker",
        "Reads requests and cancellations; writes results, retries and dead letters.",
        (
            *_read(REQUESTS, BULK_REQUESTS, CONTROL),
            *_write(RESULTS, RETRY, DEAD_LETTERS),
            _group("headrace-worker-", prefixed=True),
            _group("headrace-control-", prefixed=True),
        ),
    ),
    Role(
        "retries",
        "Puts waiting requests back.",
        (*_read(RETRY), *_write(REQUESTS, BULK_REQUESTS, DEAD_LETTERS), _group("headrace-retries")),
    ),
    Role(
        "sink-clickhouse",
        "Reads results and no request: no prompt reaches it.",
        (*_read(RESULTS), *_write(DEAD_LETTERS), _group("headrace-sink-clickhouse")),
    ),
    Role(
        "sink-postgres",
        "Reads results, and requests to show them while they wait.",
        (*_read(RESULTS, REQUESTS, BULK_REQUESTS), *_write(DEAD_LETTERS), _group("headrace-sink-postgres")),
    ),
    Role(
        "operator",
        "The `headrace` commands, topics and these rules included: whoever grants rights can take all of them.",
        (
            Grant(
                "topic",
                "llm.",
                ("read", "write", "create", "alter", "describe_configs", "alter_configs"),
                prefixed=True,
            ),
            Grant("topic", DEAD_LETTERS, ("delete",)),
            _SEE_GROUPS,
            _group(SUBSCRIBER_GROUPS, prefixed=True),
            _group("headrace-dead-letters"),
            Grant("cluster", "kafka-cluster", ("describe", "alter")),
        ),
    ),
)
