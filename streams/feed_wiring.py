"""What the gateway's streams and bulk jobs stand on, over real adapters; `gateway_wiring` joins them with the rest."""

from dataclasses import dataclass
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from producers.kafka_connection import KafkaAddress
from streams.feed.feed import LiveFeed
from streams.feed.hub import Hub
from streams.feed.kafka_past import KafkaPast
from streams.feed.kafka_reader import KafkaResultsReader
from streams.feed.positions import EventIds
from streams.feed.ring import Ring

_CONNECTIONS: Final = 4
_WAIT_SECONDS: Final = 5.0


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


def bulk_pool(dsn: str) -> AsyncConnectionPool[Any]:
    """Connections for bulk jobs, not opened yet. They prepare nothing: PgBouncer may stand before Postgres."""
    kwargs = {"prepare_threshold": None, "application_name": "headrace-gateway"}
    return AsyncConnectionPool(dsn, min_size=0, max_size=_CONNECTIONS, timeout=_WAIT_SECONDS, kwargs=kwargs, open=False)
