"""Taking pauses off the board that all workers follow."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.model.redis_pauses import BOARD_KEY, posted_pauses


class BoardAwayError(RuntimeError):
    """Nothing was resumed."""

    def __init__(self) -> None:
        super().__init__("Redis, where the pauses are, does not answer; nothing was resumed")


async def resume_calls(redis_url: str, scope: str | None) -> list[dict[str, str]]:
    """End the pause of `scope`, or every pause; what was ended. Raises BoardAwayError. Safe to repeat."""
    client = Redis.from_url(redis_url, socket_connect_timeout=5, socket_timeout=5)
    try:
        pauses = {name: pause for name, pause in (await posted_pauses(client)).items() if scope in {None, name}}
        if scope is None:
            await client.delete(BOARD_KEY)
        elif pauses:
            await client.hdel(BOARD_KEY, scope)
    except (RedisError, OSError) as error:
        raise BoardAwayError from error
    finally:
        await client.aclose()
    return [{"scope": name, "reason": pause.reason, "code": pause.detail} for name, pause in pauses.items()]
