"""A consumer that falls silent is noticed: it would hold its partitions for ever (research/faust.md, D2)."""

import asyncio
import uuid
from pathlib import Path

import pytest

from streams.faust_worker import WorkerApp
from streams.runner import RunnerLimits
from tests.engines import Answers, a_topic, committed, engine, eventually, publish

pytestmark = pytest.mark.timeout(90)
STALL_SECONDS = 1.0


@pytest.fixture
def group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


async def fall_silent(app: WorkerApp) -> None:
    """From now on no fetch returns: the membership is kept, nothing is handed over."""
    fetching = asyncio.Event()

    async def fetches_for_ever(timeout: float) -> None:  # noqa: ASYNC109 - the replaced signature
        del timeout
        fetching.set()
        await asyncio.Event().wait()

    app.consumer._wait_next_records = fetches_for_ever
    await asyncio.wait_for(fetching.wait(), 20)


async def has_crashed(app: WorkerApp, within_seconds: float) -> bool:
    try:
        await asyncio.wait_for(app.crash_event.wait(), within_seconds)
    except TimeoutError:
        return False
    return True


async def test_a_consumer_that_falls_silent_with_lag_ends_its_worker_and_another_goes_on(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    publish(kafka, topic, [b"taken"])
    answers, again = Answers(), Answers()
    async with engine(kafka, topic, group, answers, tmp_path / "a", stall_seconds=STALL_SECONDS) as app:
        await eventually(lambda: committed(kafka, group, topic) == 1)
        await fall_silent(app)
        publish(kafka, topic, [b"left lying"])
        assert await has_crashed(app, 20)
        assert app.problem() is not None
        assert answers.values == [b"taken"]
    async with engine(kafka, topic, group, again, tmp_path / "b"):
        await eventually(lambda: again.values == [b"left lying"])


async def test_a_consumer_that_falls_silent_before_its_first_record_is_noticed_too(
    kafka: str, group: str, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    async with engine(kafka, topic, group, Answers(), tmp_path, stall_seconds=STALL_SECONDS) as app:
        await eventually(lambda: app._runner.partitions == 1)
        await fall_silent(app)
        publish(kafka, topic, [b"left lying"])
        assert await has_crashed(app, 20)


async def test_neither_idleness_nor_a_full_worker_is_taken_for_a_stall(kafka: str, group: str, tmp_path: Path) -> None:
    idle, full = a_topic(kafka), a_topic(kafka)
    publish(kafka, idle, [b"x"])
    publish(kafka, full, [b"x"] * 10)
    held = Answers(hold=lambda _: True)
    async with (
        engine(kafka, idle, group, Answers(), tmp_path / "a", stall_seconds=STALL_SECONDS) as resting,
        engine(
            kafka, full, f"{group}-full", held, tmp_path / "b", RunnerLimits(records=2), stall_seconds=STALL_SECONDS
        ) as working,
    ):
        await eventually(lambda: len(held.seen) == 2)
        await asyncio.sleep(4 * STALL_SECONDS)  # several looks of the watchdog: it would have ended them by now
        assert (resting.crashed, working.crashed) == (False, False)
        held.let_go.set()


async def test_lag_that_is_gone_at_the_next_look_is_no_stall(kafka: str, group: str, tmp_path: Path) -> None:
    """As after an outage: nothing was taken for long, and what waits was published, or reachable, a moment ago."""
    looks: list[bool] = []

    async def lag_at_every_other_look() -> bool:
        looks.append(len(looks) % 2 == 0)
        return looks[-1]

    topic = a_topic(kafka)
    async with engine(kafka, topic, group, Answers(), tmp_path, stall_seconds=STALL_SECONDS) as app:
        app._has_lag = lag_at_every_other_look  # type: ignore[method-assign]
        await eventually(lambda: len(looks) >= 6)
        assert not app.crashed
