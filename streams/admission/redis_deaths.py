"""The book of deaths in Redis: one hash, forgotten a day after the last entry."""

from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.admission.deaths import Place
from streams.logs import logger_named

log = logger_named("deaths")

BOOK_KEY: Final = "headrace:deaths:1"
_DAY_SECONDS: Final = 24 * 60 * 60


class RedisDeathBook:
    """A DeathBook over a client it does not own."""

    def __init__(self, client: "Redis") -> None:
        self._client = client

    async def read(self) -> Mapping[Place, int]:
        try:
            entries = await self._client.hgetall(BOOK_KEY)
        except (RedisError, OSError) as error:
            log.warning("death_book_away", reason=type(error).__name__)
            return {}
        read = (_entry(field, deaths) for field, deaths in entries.items())
        return dict(entry for entry in read if entry is not None)

    async def write(self, place: Place) -> None:
        try:
            await self._client.hincrby(BOOK_KEY, f"{place.topic}/{place.partition}/{place.offset}", 1)
            await self._client.expire(BOOK_KEY, _DAY_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("death_not_written", reason=type(error).__name__)


def _entry(field: bytes | str, deaths: bytes | str) -> tuple[Place, int] | None:
    """None for what no worker wrote there: it must not keep one from starting."""
    text = field.decode(errors="replace") if isinstance(field, bytes) else field
    try:
        topic, partition, offset = text.rsplit("/", 2)
        return Place(topic, int(partition), int(offset)), int(deaths)
    except ValueError:
        return None
