"""The board in Redis: one hash, a field per scope. Redis away: each worker keeps to what it has seen itself."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final, get_args

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.logs import logger_named
from streams.model.gate import Pause, PauseReason

log = logger_named("pauses")

BOARD_KEY: Final = "headrace:pauses:1"


class RedisPauseBoard:
    """A PauseBoard over a client it does not own."""

    def __init__(self, client: "Redis") -> None:
        self._client = client
        self._away = False

    async def read(self) -> Mapping[str, Pause] | None:
        """See PauseBoard."""
        try:
            posted = await posted_pauses(self._client)
        except (RedisError, OSError) as error:
            if not self._away:
                log.warning("pauses_not_read", reason=type(error).__name__)
            self._away = True
            return None
        self._away = False
        return posted

    async def put(self, scope: str, pause: Pause) -> bool:
        """See PauseBoard."""
        value = json.dumps({"until": pause.until.isoformat(), "reason": pause.reason, "detail": pause.detail})
        try:
            await self._client.hset(BOARD_KEY, scope, value)
        except (RedisError, OSError) as error:
            log.warning("pause_not_shared", scope=scope, reason=type(error).__name__)
            return False
        return True

    async def clear(self, scope: str) -> bool:
        """See PauseBoard."""
        try:
            await self._client.hdel(BOARD_KEY, scope)
        except (RedisError, OSError) as error:
            log.warning("pause_not_cleared", scope=scope, reason=type(error).__name__)
            return False
        return True


async def posted_pauses(client: "Redis") -> dict[str, Pause]:
    """Every readable pause by scope. Raises RedisError and OSError."""
    posted = await client.hgetall(BOARD_KEY)
    pauses = ((_text(scope), _pause(value)) for scope, value in posted.items())
    return {scope: pause for scope, pause in pauses if pause is not None}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _pause(value: bytes | str) -> Pause | None:
    """None for what another version, or a hand, wrote there: it must not end those who follow the board."""
    try:
        members = json.loads(value)
        pause = Pause(datetime.fromisoformat(members["until"]), members["reason"], str(members["detail"]))
    except (ValueError, KeyError, TypeError):
        return None
    return pause if pause.until.tzinfo is not None and pause.reason in get_args(PauseReason) else None
