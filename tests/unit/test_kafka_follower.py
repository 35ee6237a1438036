"""What follows a topic tells of each outage once, and of the next one again."""

import asyncio

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from structlog.testing import capture_logs

from streams import kafka_follower
from streams.kafka_follower import TopicFollower


class Follower(TopicFollower):
    """Meets what `outages` says, one a try; True stands for a try that had begun to follow."""

    _name = "by hand"

    def __init__(self, outages: list[bool]) -> None:
        super().__init__()
        self.outages = outages

    def _consumer(self) -> Consumer:
        return Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "by-hand", "log_level": 0})

    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        del consumer
        if not self.outages:
            loop.call_soon_threadsafe(self._ready.set)
            self._stop.wait()
            return
        if self.outages.pop(0):
            self._following()
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.mark.parametrize(
    ("outages", "told"), [([False, False, False], 1), ([False, False, True, False], 2), ([True, True], 2)]
)
async def test_an_outage_is_told_once_and_the_one_after_it_again(
    outages: list[bool], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_follower, "_AGAIN_SECONDS", 0.0)
    with capture_logs() as logs:
        follower = Follower(outages)
        follower.start()
        assert await follower.await_ready(30)
        await follower.close()
    assert [each["event"] for each in logs] == ["the topic cannot be followed yet"] * told
