"""A cluster of three brokers that loses one; topics keep three copies, and writes wait for two."""

from random import Random
from typing import Final

from ops.chaos.cluster import NODES, three_brokers
from ops.chaos.fault import Fault
from ops.chaos.faults.outages import shape_around, under_load
from ops.chaos.load import Load
from ops.chaos.stage import Stage

_SECONDS: Final = 20.0


def _kill_one(stage: Stage, load: Load) -> None:
    under_load(stage, load)
    victim = Random(load.seed).choice(NODES)  # noqa: S311 - repeatable on purpose
    stage.kill(victim, stay_down=True)
    stage.wait(_SECONDS)


def _all_back(stage: Stage) -> None:
    for node in NODES:
        if not stage.actor(node).alive:
            stage.start(node)


FAULTS: Final = (
    Fault(
        "broker-lost",
        "kill -9 of one of three brokers for 20 s; the other two take over",
        _kill_one,
        _all_back,
        shape=shape_around(_SECONDS),
        plan=three_brokers,
    ),
)
