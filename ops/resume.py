"""Taking pauses off the board that all workers follow."""

from redis.asyncio import Redis

from streams.model.redis_pauses import RedisPauseBoard


async def resume_calls(redis_url: str, scope: str | None) -> list[dict[str, str]]:
    """End the pause of `scope`, or every pause; what was ended."""
    client = Redis.from_url(redis_url, socket_connect_timeout=5, socket_timeout=5)
    try:
        board = RedisPauseBoard(client)
        posted = {name: pause for name, pause in (await board.read()).items() if scope in {None, name}}
        for name in posted:
            await board.clear(name)
    finally:
        await client.aclose()
    return [{"scope": name, "reason": pause.reason, "code": pause.detail} for name, pause in posted.items()]
