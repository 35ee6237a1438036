"""A worker starts on a broker that answers: one that only accepts connections may still refuse us."""

import asyncio
from collections.abc import Collection

import pytest

from producers.kafka_access import require_access
from producers.kafka_connection import KafkaConnection
from streams import broker_wait
from streams.broker_wait import wait_for_broker


async def test_a_broker_that_accepts_and_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    give_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_shortly(kafka: KafkaConnection, topics: Collection[str]) -> bool:
        asked.append(require_access(kafka, topics, within_seconds=0.5))
        if len(asked) == 2:
            loop.call_soon_threadsafe(give_up.set)
        return asked[-1]

    monkeypatch.setattr(broker_wait, "require_access", ask_shortly)
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1")
    port = silent.sockets[0].getsockname()[1]
    connection = KafkaConnection(f"127.0.0.1:{port}", "SASL_PLAINTEXT", username="worker", password="0")
    async with silent:
        assert not await wait_for_broker(connection, ["llm.requests"], give_up)
    assert asked == [False, False]
