"""The topics, declared once; ``headrace topics apply`` makes a cluster match."""

from dataclasses import dataclass, field
from typing import Final, Literal

Lane = Literal["interactive", "bulk"]

REQUESTS: Final = "llm.requests"
BULK_REQUESTS: Final = "llm.requests.bulk"
RETRY: Final = "llm.requests.retry"
RESULTS: Final = "llm.results"
DEAD_LETTERS: Final = "llm.dead-letters"
CONTROL: Final = "llm.control"

REQUEST_TOPIC_OF_LANE: Final[dict[Lane, str]] = {"interactive": REQUESTS, "bulk": BULK_REQUESTS}

MAX_VALUE_BYTES: Final = 1024 * 1024
"""The largest value the pipeline decodes; a larger record becomes a dead letter."""

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be; replication is the cluster's, so it is passed in when applied."""

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int
    purpose: str
    cleanup_policy: str = "delete"
    extra_config: dict[str, str] = field(default_factory=dict)

    def config(self, replication: int) -> dict[str, str]:
        """Broker settings of this topic for a cluster that keeps `replication` copies."""
        return {
            "cleanup.policy": self.cleanup_policy,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            # The broker validates and recompresses, so a codec that a consumer lacks never reaches it.
            "compression.type": "lz4",
            "min.insync.replicas": "2" if replication >= 3 else "1",  # noqa: PLR2004 - three copies, two in sync
            **self.extra_config,
        }


# The broker's bound is above ours: an oversize record must arrive to become a dead letter with a reason,
# and the dead letter, its headers added, must fit as well.
_INTAKE_BYTES: Final = 2 * MAX_VALUE_BYTES
_DEAD_LETTER_BYTES: Final = 3 * MAX_VALUE_BYTES

TOPICS: Final[tuple[Topic, ...]] = (
    Topic(REQUESTS, 12, 7 * _DAY_MS, _INTAKE_BYTES, "Requests of the interactive lane, keyed by request key."),
    Topic(BULK_REQUESTS, 12, 7 * _DAY_MS, _INTAKE_BYTES, "Requests of the bulk lane, keyed by request key."),
    Topic(RETRY, 6, 7 * _DAY_MS, _INTAKE_BYTES, "Requests that wait until they are due again."),
    Topic(RESULTS, 12, 7 * _DAY_MS, _INTAKE_BYTES, "One terminal result per accepted request, keyed by request id."),
    Topic(
        DEAD_LETTERS,
        3,
        30 * _DAY_MS,
        _DEAD_LETTER_BYTES,
        "Records nobody could read, as they came, with origin and reason.",
    ),
    Topic(CONTROL, 1, 1 * _DAY_MS, _INTAKE_BYTES, "Cancellations and invalidations for every worker."),
)
