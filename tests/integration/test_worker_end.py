"""A worker that is asked to end ends, also when its broker has stopped answering."""

from collections.abc import Iterator

import pytest

from tests.pipeline import Pipeline, a_question, running_pipeline, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

DRAIN_SECONDS = 1
AFTER_DRAIN_SECONDS = 15


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("end")) as running:
        yield running


def test_a_silent_broker_does_not_keep_a_worker_from_ending(pipeline: Pipeline) -> None:
    pipeline.model.set(latency_seconds=2)
    with pipeline.worker("leaving", drain_seconds=DRAIN_SECONDS) as worker:
        pipeline.ask([a_question("silent") for _ in range(5)])
        until(lambda: worker.total("headrace_in_flight_records") == 5)
        with pipeline.broker.frozen():
            worker.process.terminate()
            worker.process.wait(DRAIN_SECONDS + AFTER_DRAIN_SECONDS + 5)
