"""The board in Redis: one hash, a field per scope. Redis away: each worker keeps to what it has seen itself."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.logs import logger_named
from streams.model.gate import Pause

log = logger_named("pauses")

BOARD_KEY: Final = "headrace:pauses:1"


class RedisPauseBoard:
    """A PauseBoard over a client it does not own."""

    def __init__(self, client: "Redis") -> None:
        self._client = client
        self._last: Mapping[str, Pause] = {}

    async def read(self) -> Mapping[str, Pause]:
        try:
            posted = await self._client.hgetall(BOARD_KEY)
        except (RedisError, OSError):
            return self._last
        self._last = {_text(scope): _pause(value) for scope, value in posted.items()}
        return self._last

    async def put(self, scope: str, pause: Pause) -> None:
        self._last = {**self._last, scope: pause}
        value = json.dumps({"until": pause.until.isoformat(), "reason": pause.reason, "detail": pause.detail})
        try:
            await self._client.hset(BOARD_KEY, scope, value)
        except (RedisError, OSError) as error:
            log.warning("pause_not_shared", scope=scope, reason=type(error).__name__)

    async def clear(self, scope: str) -> None:
        self._last = {name: pause for name, pause in self._last.items() if name != scope}
        try:
            await self._client.hdel(BOARD_KEY, scope)
        except (RedisError, OSError) as error:
            log.warning("pause_not_cleared", scope=scope, reason=type(error).__name__)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _pause(value: bytes | str) -> Pause:
    members = json.loads(value)
    return Pause(datetime.fromisoformat(members["until"]), members["reason"], members["detail"])
