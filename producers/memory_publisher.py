"""`MemoryPublisher`: the Publisher contract without a broker, for tests and dry runs."""

from collections.abc import Sequence
from typing import Final

from producers.publisher import PublisherClosedError, PublishError, Refusal
from schemas.record import OutgoingRecord
from schemas.topics import TOPICS

_LIMITS: Final = {topic.name: topic.max_message_bytes for topic in TOPICS}


class MemoryPublisher:
    """Keeps what it is given in `records`, in order; refuses what the topic's declared bound refuses."""

    def __init__(self) -> None:
        self.records: list[OutgoingRecord] = []
        self._closed = False

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """See Publisher."""
        if self._closed:
            raise PublisherClosedError
        refusals = [Refusal(record, "message size too large") for record in records if _is_oversize(record)]
        self.records.extend(record for record in records if not _is_oversize(record))
        if refusals:
            raise PublishError(refusals, len(records))

    async def close(self) -> None:
        """Refuse whatever comes now."""
        self._closed = True


def _is_oversize(record: OutgoingRecord) -> bool:
    limit = _LIMITS.get(record.topic)
    return limit is not None and len(record.value or b"") + len(record.key or b"") > limit
