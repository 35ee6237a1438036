"""The engine on a real broker: what Faust would get wrong by itself (research/faust.md, D1 to D4), and rebalances."""

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from streams.lean_transport import LeanConsumer
from streams.runner import RunnerLimits
from streams.tolerant_records import READ_ERROR_HEADER
from tests.engines import Answers, a_topic, abandon, committed, engine, eventually, publish

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


async def test_d1_no_offset_is_committed_past_a_record_in_flight(kafka: str, group: str, tmp_path: Path) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"%d" % number for number in range(20)])
    answers = Answers(hold=lambda record: record.offset == 0)
    async with engine(kafka, topic, group, answers, tmp_path) as app:
        await eventually(lambda: len(answers.seen) == 20)
        await asyncio.sleep(0.5)  # several commit intervals: what would be committed is by now
        assert committed(kafka, group, topic) < 0
        await abandon(app)
    again = Answers()
    async with engine(kafka, topic, group, again, tmp_path):
        await eventually(lambda: committed(kafka, group, topic) == 20)
    assert again.values[0] == b"0"


async def test_finished_records_behind_a_held_one_are_committed_when_it_ends(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"%d" % number for number in range(10)])
    answers = Answers(hold=lambda record: record.offset == 4)
    async with engine(kafka, topic, group, answers, tmp_path):
        await eventually(lambda: committed(kafka, group, topic) == 4)
        answers.let_go.set()
        await eventually(lambda: committed(kafka, group, topic) == 10)


async def test_d2_a_worker_that_was_full_longer_than_its_session_goes_on(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"%d" % number for number in range(60)])
    answers = Answers(hold=lambda record: record.offset < 2)
    async with engine(kafka, topic, group, answers, tmp_path, RunnerLimits(records=2)) as app:
        await eventually(lambda: len(answers.seen) == 2)
        idle_limit_ms = app.consumer._thread._consumer._coordinator._max_poll_interval
        assert idle_limit_ms > 7 * 24 * 3600
        await asyncio.sleep(8)  # the session is 6 s: heartbeats alone keep the membership
        answers.let_go.set()
        await eventually(lambda: committed(kafka, group, topic) == 60)
    assert len(answers.seen) == 60


async def test_d2_a_spare_worker_takes_over_after_longer_than_its_session(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    first, spare = Answers(), Answers()
    async with (
        engine(kafka, topic, group, first, tmp_path / "a") as leader,
        engine(kafka, topic, group, spare, tmp_path / "b"),
    ):
        await asyncio.sleep(8)
        await leader.stop()
        publish(kafka, topic, [b"for whoever is left"])
        await eventually(lambda: first.values + spare.values == [b"for whoever is left"])


async def test_what_one_poll_brought_of_many_partitions_is_handed_over_at_once_and_in_order(
    kafka: str, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, partitions, each = a_topic(kafka, partitions=6), range(6), 30
    for partition in partitions:
        publish(kafka, topic, [b"%d" % number for number in range(each)], partition)
    messages: list[list[int]] = []
    message_of = LeanConsumer._message_of

    def noted(consumer: LeanConsumer, records: list[Any]) -> Any:
        messages.append([record.partition for record in records])
        return message_of(consumer, records)

    monkeypatch.setattr(LeanConsumer, "_message_of", noted)
    answers = Answers()
    async with engine(kafka, topic, group, answers, tmp_path):
        await eventually(lambda: len(answers.seen) == each * len(partitions))
    assert max(len(set(message)) for message in messages) > 1
    for partition in partitions:
        offsets = [record.offset for record in answers.seen if record.partition == partition]
        assert offsets == list(range(each))


_WRITE_BROKEN_HEADER = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class NotUtf8(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(server, topic):
    producer = AIOKafkaProducer(bootstrap_servers=server, linger_ms=200)
    await producer.start()
    sent = [await producer.send(topic, b"good 1"),
            await producer.send(topic, b"broken", headers=[(NotUtf8("x"), b"y")]),
            await producer.send(topic, b"good 2")]
    await asyncio.gather(*sent)
    await producer.stop()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_d3_a_record_that_cannot_be_parsed_costs_only_itself(kafka: str, group: str, tmp_path: Path) -> None:
    topic = a_topic(kafka)
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _WRITE_BROKEN_HEADER, kafka, topic],
        check=True,
        timeout=60,
        env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
    )
    answers = Answers()
    async with engine(kafka, topic, group, answers, tmp_path):
        await eventually(lambda: committed(kafka, group, topic) == 3)
    assert answers.values == [b"good 1", b"broken", b"good 2"]
    assert [record.read_error is not None for record in answers.seen] == [False, True, False]
    assert answers.seen[1].headers[0][0] == READ_ERROR_HEADER


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_records_of_every_codec_are_read(kafka: str, group: str, tmp_path: Path, codec: str) -> None:
    topic = a_topic(kafka, compression_type="producer")
    values = [b"%d " % number * 50 for number in range(50)]
    publish(kafka, topic, values, compression_type=codec)
    answers = Answers()
    async with engine(kafka, topic, group, answers, tmp_path):
        await eventually(lambda: len(answers.seen) == 50)
    assert answers.values == values


async def test_d4_a_full_lane_does_not_hold_up_another(kafka: str, group: str, tmp_path: Path) -> None:
    full, free = a_topic(kafka), a_topic(kafka)
    publish(kafka, full, [b"x"] * 3000)
    publish(kafka, free, [b"y"] * 10)
    blocked, answers = Answers(hold=lambda _: True), Answers()
    async with engine(kafka, full, group, blocked, tmp_path / "full", RunnerLimits(records=5)):
        await eventually(lambda: len(blocked.seen) == 5)
        async with engine(kafka, free, f"{group}-free", answers, tmp_path / "free"):
            await eventually(lambda: len(answers.seen) == 10)
        assert len(blocked.seen) == 5
        blocked.let_go.set()


async def test_a_rebalance_commits_what_is_done_and_redelivers_nothing_of_it(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka, partitions=2)
    for partition in (0, 1):
        publish(kafka, topic, [b"%d" % number for number in range(10)], partition=partition)
    first, second = Answers(), Answers()
    slow_commits: dict[str, Any] = {"commit_interval_seconds": 3600}
    async with engine(kafka, topic, group, first, tmp_path / "a", **slow_commits) as older:
        await eventually(lambda: len(first.seen) == 20)
        async with engine(kafka, topic, group, second, tmp_path / "b", **slow_commits) as newer:
            await eventually(lambda: older._runner.partitions == newer._runner.partitions == 1)
            publish(kafka, topic, [b"new"], partition=0)
            publish(kafka, topic, [b"new"], partition=1)
            await eventually(lambda: len(first.seen) + len(second.seen) >= 22)
    assert len(first.seen) + len(second.seen) == 22
    assert second.values == [b"new"]


async def test_a_rebalance_waits_for_work_in_flight_only_up_to_its_limit(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"stuck", b"done"])
    first, second = Answers(hold=lambda record: record.value == b"stuck"), Answers()
    async with engine(kafka, topic, group, first, tmp_path / "a", drain_seconds=1) as leader:
        await eventually(lambda: len(first.seen) == 2)
        async with engine(kafka, topic, group, second, tmp_path / "b"):
            await leader.stop()
            await eventually(lambda: b"stuck" in second.values)


async def test_stopping_finishes_and_commits_what_is_in_flight(kafka: str, group: str, tmp_path: Path) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"%d" % number for number in range(10)])
    answers = Answers(hold=lambda _: True)
    async with engine(kafka, topic, group, answers, tmp_path) as app:
        await eventually(lambda: len(answers.seen) == 10)
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0.2)
        answers.let_go.set()
        await stopping
    assert committed(kafka, group, topic) == 10


async def test_what_was_fetched_and_dropped_before_anything_was_committed_is_fetched_again(
    kafka: str, group: str, tmp_path: Path
) -> None:
    """As by a fetch that is under way while a rebalance gives the partition out."""
    topic, answers = a_topic(kafka), Answers()
    async with engine(kafka, topic, group, answers, tmp_path) as app:
        consumer = app.consumer
        await eventually(lambda: app._runner.partitions == 1 and not app.rebalancing)
        consumer.stop_flow()
        publish(kafka, topic, [b"dropped"])
        fetched_records = consumer._thread._consumer._fetcher.fetched_records
        async with asyncio.timeout(30):
            while not await consumer._thread.call_thread(fetched_records, set(), 1):
                pass
        await consumer.perform_seek()
        consumer.resume_flow()
        await eventually(lambda: answers.values == [b"dropped"])
