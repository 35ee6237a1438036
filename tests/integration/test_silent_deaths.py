"""A record at which the process is killed each time, under a supervisor that starts it again (invariant L)."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest

from schemas.topics import DEAD_LETTERS
from tests.kafka_reading import end_offsets, read_from
from tests.pipeline import Pipeline, Worker, a_question, log_events, running_pipeline, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

CONDEMNED_AFTER = 3
MOST_DEATHS = 8
KILLS = '{"before_claim": "killer=yes"}'


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running_pipeline(tmp_path_factory.mktemp("silent")) as running:
        yield running


def test_it_ends_as_a_dead_letter_and_everything_around_it_is_answered(pipeline: Pipeline) -> None:
    pipeline.model.set(latency_seconds=0.3)
    others = [a_question("silent") for _ in range(120)]
    killer = a_question("silent").model_copy(update={"labels": {"killer": "yes"}})
    letters_began = end_offsets(pipeline.kafka, DEAD_LETTERS)
    with pipeline.following("silent") as results, contextlib.ExitStack() as held:
        pipeline.ask([*others[:60], killer, *others[60:]])
        workers: list[Worker] = []

        def all_are_answered() -> bool:
            if not workers or workers[-1].process.poll() is not None:
                started = pipeline.worker("victim", ready=False, failpoints=KILLS, ledger_lease_seconds=2)
                workers.append(held.enter_context(started))
            results.take(0.1)
            return len(results.seen) == len(others) and pipeline.lag() == 0

        until(all_are_answered, 200, lambda: f"{len(workers)} workers, {len(results.seen)} results")
    letters = read_from(pipeline.kafka, letters_began)
    assert [b"crash_loop" in dict(letter.headers).values() for letter in letters] == [True]
    assert letters[0].value == killer.model_dump_json(exclude_none=True).encode()
    assert killer.request_id not in results.seen
    assert CONDEMNED_AFTER < len(workers) - 1 <= MOST_DEATHS
    counted = [each for worker in workers for each in log_events(worker.log) if each["event"] == "died_at_record"]
    assert len({(each["partition"], each["offset"]) for each in counted}) == 1
    assert len(counted) == CONDEMNED_AFTER
    # Whose call was cut off twice is not asked a third time; nobody is paid for more often than is on record.
    ends = Counter(result.status for found in results.seen.values() for result in found)
    assert ends.keys() <= {"completed", "failed"}
    assert max(Counter(pipeline.charged()).values()) <= 2
