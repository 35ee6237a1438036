"""The gateway's feed and bulk jobs put together over real adapters; `gateway_wiring` joins them with the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg_pool import AsyncConnectionPool

from producers.gateway.bulk_desk import BulkDesk, DeskPorts
from producers.gateway.ids import SignedIds
from producers.kafka_connection import KafkaAddress
from producers.publisher import Publisher
from streams.bulk_jobs.postgres_jobs import PostgresJobs
from streams.bulk_jobs.postgres_lines import PostgresLines
from streams.feed.feed import LiveFeed
from streams.feed.hub import Hub
from streams.feed.kafka_past import KafkaPast
from streams.feed.kafka_reader import KafkaResultsReader
from streams.feed.positions import EventIds
from streams.feed.ring import Ring


@dataclass(frozen=True, slots=True)
class FeedParts:
    """One copy's feed: what routes use, and the reader that is started and closed with the process."""

    feed: LiveFeed
    """A ResultFeed and a ResultWaiter."""
    hub: Hub
    reader: KafkaResultsReader

    async def close(self) -> None:
        """End every stream, each told to come again, then the reader."""
        self.hub.close()
        await self.reader.close()


def feed_parts(kafka: KafkaAddress, secret: bytes) -> FeedParts:
    """Call `reader.start()` on the loop that serves."""
    ids = EventIds(secret)
    hub = Hub(Ring(), ids)
    reader = KafkaResultsReader(kafka, hub.ring.begin, hub.take)
    return FeedParts(LiveFeed(hub, ids, KafkaPast(kafka)), hub, reader)


def bulk_desk(
    pool: AsyncConnectionPool[Any], ids: SignedIds, publisher: Publisher, now: Callable[[], datetime]
) -> BulkDesk:
    """Bulk jobs as their owners see them."""
    jobs = PostgresJobs(pool)
    return BulkDesk(DeskPorts(ids, jobs, jobs, PostgresLines(pool), publisher, now))
