"""Hands in Redis: one hash per partition, forgotten a day after the last entry."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from streams.admission.deaths import Place
from streams.admission.in_hand import Left
from streams.logs import logger_named
from streams.offsets import Partition

log = logger_named("deaths")

_PREFIX: Final = "headrace:in-hand:1"
_READER: Final = "reader"
_DAY_SECONDS: Final = 24 * 60 * 60
_PATIENCE_SECONDS: Final = 2.0
"""A server that stands still must not hold up a rebalance."""


class RedisHands:
    """Hands over a client it does not own."""

    def __init__(self, client: "Redis") -> None:
        self._client = client

    async def sign_in(self, reader: str, partitions: Iterable[Partition]) -> Left:
        wanted = list(partitions)
        pipeline = self._client.pipeline(transaction=True)
        for partition in wanted:
            key = _key(partition)
            pipeline.hgetall(key)
            pipeline.hset(key, _READER, reader)
            pipeline.expire(key, _DAY_SECONDS)
        found = (await self._done(pipeline))[::3]
        unclean, in_hand = set[Partition](), dict[Place, int]()
        for partition, entries in zip(wanted, found, strict=False):
            read = {_text(field): _text(value) for field, value in entries.items()}
            if read.pop(_READER, reader) != reader:
                unclean.add(partition)
            in_hand |= _places(partition, read)
        return Left(frozenset(unclean), in_hand)

    async def sign_out(self, partitions: Iterable[Partition]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for partition in partitions:
            pipeline.hdel(_key(partition), _READER)
        await self._done(pipeline)

    async def hold(self, places: Collection[Place], together: int) -> None:
        pipeline = self._client.pipeline(transaction=True)
        for key, offsets in _by_key(places).items():
            pipeline.hset(key, mapping=dict.fromkeys(offsets, together))
            pipeline.expire(key, _DAY_SECONDS)
        await self._done(pipeline)

    async def let_go(self, places: Collection[Place]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, offsets in _by_key(places).items():
            pipeline.hdel(key, *offsets)
        await self._done(pipeline)

    async def _done(self, pipeline: "Pipeline") -> list[Any]:
        """The replies; none when the server is away."""
        if not len(pipeline):
            return []
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("hands_away", reason=type(error).__name__)
            return []


def _key(partition: Partition) -> str:
    return f"{_PREFIX}:{partition.topic}/{partition.number}"


def _by_key(places: Collection[Place]) -> dict[str, list[str]]:
    offsets: dict[str, list[str]] = defaultdict(list)
    for place in places:
        offsets[_key(place.where)].append(str(place.offset))
    return offsets


def _places(partition: Partition, entries: Mapping[str, str]) -> dict[Place, int]:
    """Without what no worker wrote there: it must not keep one from starting."""
    return {
        Place(partition.topic, partition.number, int(offset)): int(together)
        for offset, together in entries.items()
        if offset.isdecimal() and together.isdecimal()
    }


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw
