"""What every board of pauses promises, asked of the one in memory and the one on a real server."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from ops.resume import BoardAwayError, resume_calls
from streams.model.gate import ACCOUNT, GateRules, ModelGate, Pause, PauseBoard
from streams.model.memory_pauses import MemoryPauseBoard
from streams.model.redis_pauses import BOARD_KEY, RedisPauseBoard
from tests.builders import A_TIME, MODEL, Clock

LIMITED = Pause(A_TIME + timedelta(seconds=2.5), "limited", "rate_limit_error")
REFUSED = Pause(A_TIME + timedelta(seconds=30), "refused", "authentication_error")
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    await client.delete(BOARD_KEY)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def board(request: pytest.FixtureRequest) -> PauseBoard:
    return MemoryPauseBoard() if request.param == "memory" else RedisPauseBoard(request.getfixturevalue("redis"))


async def test_an_empty_board_holds_nothing_back(board: PauseBoard) -> None:
    assert await board.read() == {}


async def test_what_is_put_is_read_as_it_was_by_scope(board: PauseBoard) -> None:
    assert await board.put(MODEL, LIMITED)
    assert await board.put(ACCOUNT, REFUSED)
    assert await board.read() == {MODEL: LIMITED, ACCOUNT: REFUSED}


async def test_a_newer_pause_takes_the_place_of_the_older(board: PauseBoard) -> None:
    await board.put(MODEL, LIMITED)
    await board.put(MODEL, REFUSED)
    assert await board.read() == {MODEL: REFUSED}


async def test_clearing_takes_one_scope_off_and_is_safe_to_repeat(board: PauseBoard) -> None:
    await board.put(MODEL, LIMITED)
    await board.put(ACCOUNT, REFUSED)
    assert [await board.clear(ACCOUNT) for _ in range(2)] == [True, True]
    assert await board.read() == {MODEL: LIMITED}


async def test_workers_share_one_board(redis: "Redis") -> None:
    await RedisPauseBoard(redis).put(MODEL, LIMITED)
    assert await RedisPauseBoard(redis).read() == {MODEL: LIMITED}


async def test_what_cannot_be_read_there_is_passed_over(redis: "Redis") -> None:
    await RedisPauseBoard(redis).put(MODEL, LIMITED)
    naive = {"until": "2026-11-02T09:30:00", "reason": "limited", "detail": "x"}
    unheard = {"until": A_TIME.isoformat(), "reason": "moon", "detail": "x"}
    await redis.hset(
        BOARD_KEY,
        mapping={
            "a": b"\xff{",
            "b": "[]",
            "c": json.dumps({"until": 3}),
            "d": json.dumps(naive),
            "e": json.dumps(unheard),
        },
    )
    assert await RedisPauseBoard(redis).read() == {MODEL: LIMITED}


async def test_a_board_that_is_away_says_so_and_raises_nothing() -> None:
    client = Redis.from_url(NOWHERE, socket_connect_timeout=1)
    board = RedisPauseBoard(client)
    assert await board.read() is None
    assert not await board.put(MODEL, LIMITED)
    assert not await board.clear(MODEL)
    await client.aclose()


async def test_resuming_ends_the_pause_of_every_worker(redis: "Redis", redis_url: str) -> None:
    gates = [ModelGate(RedisPauseBoard(redis), GateRules(), Clock()) for _ in range(2)]
    await RedisPauseBoard(redis).put(ACCOUNT, REFUSED)
    for gate in gates:
        await gate.look_at_board()
    ended = await resume_calls(redis_url, None)
    assert ended == [{"scope": ACCOUNT, "reason": "refused", "code": "authentication_error"}]
    for gate in gates:
        await gate.look_at_board()
        assert await gate.enter(MODEL, lambda: False) is not None


async def test_resuming_one_scope_leaves_the_others(redis: "Redis", redis_url: str) -> None:
    board = RedisPauseBoard(redis)
    await board.put(ACCOUNT, REFUSED)
    await board.put(MODEL, LIMITED)
    assert [each["scope"] for each in await resume_calls(redis_url, MODEL)] == [MODEL]
    assert await resume_calls(redis_url, "another-model") == []
    assert await board.read() == {ACCOUNT: REFUSED}


async def test_resuming_without_the_board_says_that_nothing_was_resumed() -> None:
    with pytest.raises(BoardAwayError, match="nothing was resumed"):
        await resume_calls(NOWHERE, None)
