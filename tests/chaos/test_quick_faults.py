"""A chosen part of the faults, on every change; `make chaos` runs them all."""

import shutil
from collections.abc import Iterator

import pytest

from ops.chaos.faults import QUICK, faults_named
from ops.chaos.opening import open_stage
from ops.chaos.run import play
from ops.chaos.stage import Stage

SEED = 20_261_121

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("chaos")
    with open_stage(folder) as stage:
        yield stage
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", QUICK)
def test_every_promise_holds_under(name: str, stage: Stage) -> None:
    row = play(stage, faults_named(name)[0], 1, SEED)
    assert row.ok, f"{row.problem or row.violations}; logs: {row.logs}"
