"""The broker's group coordinator answers with errors while it comes up; no lane may stand still for it afterwards.

aiokafka keeps such an error until its user asks for it, and does nothing meanwhile; Faust never asks. One partition
without a position is enough, and nothing more is fetched from that broker.
"""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError, KafkaError

from tests.engines import Answers, a_topic, engine, eventually, publish

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def fail_first(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, KafkaError], list[object]]:
    """The first so many answers to "what is committed?" are this error."""
    ask = GroupCoordinator._do_fetch_commit_offsets
    asked: list[object] = []

    def arrange(times: int, error: KafkaError) -> list[object]:
        async def answer(self: GroupCoordinator, partitions: Any) -> Any:
            refreshing = asyncio.current_task() is self._commit_refresh_task
            asked.extend([partitions] * refreshing)
            if refreshing and len(asked) <= times:
                raise error
            return await ask(self, partitions)

        monkeypatch.setattr(GroupCoordinator, "_do_fetch_commit_offsets", answer)
        return asked

    return arrange


async def test_a_coordinator_that_is_not_ready_is_asked_again(
    kafka: str, group: str, tmp_path: Path, fail_first: Callable[[int, KafkaError], list[object]]
) -> None:
    # As aiokafka hands it on: wrapped, and thereby no longer one that may pass.
    asked = fail_first(3, KafkaError(repr(GroupCoordinatorNotAvailableError())))
    topic, answers = a_topic(kafka, partitions=2), Answers()
    publish(kafka, topic, [b"x"])
    async with engine(kafka, topic, group, answers, tmp_path):
        await eventually(lambda: answers.values == [b"x"])
    assert len(asked) > 3


async def test_an_error_that_stays_ends_the_worker(
    kafka: str, group: str, tmp_path: Path, fail_first: Callable[[int, KafkaError], list[object]]
) -> None:
    fail_first(1_000, GroupAuthorizationFailedError(group))
    topic = a_topic(kafka)
    async with engine(kafka, topic, group, Answers(), tmp_path) as app:
        await asyncio.wait_for(app.crash_event.wait(), 30)
        assert app.problem() is not None
