"""Workers are stopped, killed and cut off from their broker under load: every request is answered all the same."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from schemas.request import PromptRequest
from tests.pipeline import Following, Pipeline, a_question, log_events, running_pipeline, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet_model(pipeline: Pipeline) -> None:
    pipeline.model.reset()


def test_sigterm_finishes_what_is_in_flight_and_leaves_nothing_to_the_next_worker(pipeline: Pipeline) -> None:
    pipeline.model.set(latency_seconds=2)
    requests, later = [a_question("leaving") for _ in range(10)], a_question("leaving")
    with pipeline.following("leaving") as results:
        with pipeline.worker("leaving") as worker:
            pipeline.ask(requests)
            until(lambda: worker.total("headrace_in_flight_records") == 10)
            assert worker.terminate() == 0
            assert log_events(worker.log)[-1]["event"] == "stopped"
        assert pipeline.lag() == 0
        with pipeline.worker("next") as following:
            pipeline.ask([later])
            results.wait_for([*requests, later])
            assert following.total("headrace_records_total") == 1
        results.take()
    assert {len(found) for found in results.seen.values()} == {1}
    assert len(pipeline.charged()) == 11


IN_FLIGHT = 20


def test_a_killed_worker_loses_nothing_and_pays_again_at_most_for_what_was_in_flight(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    pipeline.model.set(latency_seconds=0.5)
    requests = [a_question("killed") for _ in range(600)]
    with (
        pipeline.following("killed") as results,
        pipeline.worker("victim", max_in_flight=IN_FLIGHT) as victim,
        pipeline.worker("heir", max_in_flight=IN_FLIGHT),
    ):
        until(lambda: 0 < victim.total("headrace_assigned_partitions") < 24)
        pipeline.ask(requests)
        until(lambda: _answered(results) >= 100)
        assert victim.total("headrace_in_flight_records") > 0
        victim.kill()
        killed_at = time.monotonic()
        answered = results.wait_for(requests, 90)
        record_property("recovery_seconds", round(time.monotonic() - killed_at, 1))
        until(lambda: pipeline.lag() == 0, 30)
    assert {result.status for result in answered.values()} == {"completed"}
    calls = Counter(pipeline.charged())
    assert len(calls) == len(requests)
    assert calls.total() - len(calls) <= IN_FLIGHT


def _answered(results: Following) -> int:
    results.take(0.05)
    return len(results.seen)


def test_a_broker_that_restarts_under_load_costs_no_answer(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    pipeline.model.set(latency_seconds=0.2)
    requests = [a_question("restart") for _ in range(200)]
    with pipeline.following("restart") as results, contextlib.ExitStack() as held:
        workers = [held.enter_context(pipeline.worker("patient", max_in_flight=IN_FLIGHT))]
        publishing = threading.Thread(target=_publish_slowly, args=(pipeline, requests))
        publishing.start()
        until(lambda: _answered(results) >= 20)
        with pipeline.broker.stopped():
            assert _answered(results) < len(requests)
        began = time.monotonic()
        publishing.join(60)

        def all_are_answered() -> bool:
            if workers[-1].process.poll() is not None:  # started again, as `headrace up` and Kubernetes do
                workers.append(held.enter_context(pipeline.worker("patient", ready=False)))
            return _answered(results) == len(requests)

        until(all_are_answered, 90)
        record_property("recovery_seconds", round(time.monotonic() - began, 1))
        record_property("workers_used", len(workers))
        until(lambda: pipeline.lag() == 0, 60)
    assert {each.status for found in results.seen.values() for each in found} == {"completed"}


def _publish_slowly(pipeline: Pipeline, requests: list[PromptRequest]) -> None:
    for start in range(0, len(requests), 10):
        pipeline.ask(requests[start : start + 10])
        time.sleep(0.1)  # the pace of the load
