"""Servers that go away, stand still or lose what they hold, under load.

Outages last 20 s, so that every fault fits in 25 minutes; `--full` makes them 60 s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psutil

from ops.chaos.fault import Fault
from ops.chaos.load import Load, LoadShape
from ops.chaos.stage import Stage, StageError

SHORT_SECONDS: Final = 20.0
FULL_SECONDS: Final = 60.0
_BEFORE: Final = 0.15
_RATE: Final = 25
_AROUND_SECONDS: Final = 8.0
_SLOW_SECONDS: Final = 2.0
_BREATH_SECONDS: Final = 1.0


def shape_around(seconds: float) -> LoadShape:
    """A load that goes on before, during and after."""
    whole = seconds + _AROUND_SECONDS
    return LoadShape(requests=int(whole * _RATE), seconds=whole)


def under_load(stage: Stage, load: Load, share: float = _BEFORE) -> None:
    """Wait until that much of the load is under way."""
    stage.until(lambda: load.reached(share), 120, f"{share:.0%} of the load")


@dataclass(frozen=True, slots=True)
class Down:
    """A server that is not there for a while and comes back with the same data; `hard` is kill -9."""

    part: str
    seconds: float
    hard: bool = False

    def inject(self, stage: Stage, load: Load) -> None:
        under_load(stage, load)
        if self.hard:
            stage.kill(self.part, stay_down=True)
        else:
            stage.stop(self.part)
        stage.wait(self.seconds)

    def heal(self, stage: Stage) -> None:
        if not stage.actor(self.part).alive:
            stage.start(self.part)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A server that takes connections and answers nothing: SIGSTOP of all its processes."""

    part: str
    seconds: float

    def inject(self, stage: Stage, load: Load) -> None:
        under_load(stage, load)
        stage.pause(self.part)
        for child in _children(stage, self.part):
            child.suspend()
        stage.wait(self.seconds)

    def heal(self, stage: Stage) -> None:
        for child in _children(stage, self.part):
            child.resume()
        stage.resume(self.part)


def _children(stage: Stage, part: str) -> list[psutil.Process]:
    pid = stage.actor(part).pid
    return psutil.Process(pid).children(recursive=True) if pid else []


def _restart(part: str) -> Callable[[Stage, Load], None]:
    def inject(stage: Stage, load: Load) -> None:
        under_load(stage, load, 0.4)
        stage.restart(part)

    return inject


def _flush_redis(stage: Stage, load: Load) -> None:
    import redis

    for share in (0.3, 0.5, 0.7, 0.9):
        under_load(stage, load, share)
        with redis.Redis.from_url(stage.endpoints["redis"]) as client:
            if not client.flushall():
                raise StageError("Valkey did not flush")


def _slow_redis(stage: Stage, load: Load) -> None:
    under_load(stage, load)
    while not load.reached(1):
        stage.pause("valkey")
        stage.wait(_SLOW_SECONDS)
        stage.resume("valkey")
        stage.wait(_BREATH_SECONDS)


def _resume_redis(stage: Stage) -> None:
    stage.resume("valkey")


def _down(name: str, part: str, story: str, seconds: float, *, hard: bool = False) -> Fault:
    down = Down(part, seconds, hard)
    return Fault(name, story, down.inject, down.heal, shape=shape_around(seconds))


def outages(seconds: float) -> tuple[Fault, ...]:
    """Every fault whose length is the outage's."""
    told = f"for {seconds:g} s"
    frozen = Frozen("postgres", seconds)
    return (
        _down("kafka-down", "kafka", f"the broker is killed and away {told}", seconds, hard=True),
        _down("redis-down", "valkey", f"Redis is away {told}", seconds),
        _down("postgres-down", "postgres", f"Postgres is away {told}", seconds),
        Fault(
            "postgres-frozen",
            f"Postgres takes connections and answers nothing {told}",
            frozen.inject,
            frozen.heal,
            shape=shape_around(seconds),
        ),
        _down("clickhouse-down", "clickhouse", f"ClickHouse is away {told}", seconds),
    )


FAULTS: Final = (
    Fault("kafka-restarted", "the broker is stopped and started", _restart("kafka")),
    *outages(SHORT_SECONDS),
    Fault("redis-flushed", "FLUSHALL, four times", _flush_redis),
    Fault("redis-slow", "Redis stands still 2 s of every 3 s", _slow_redis, _resume_redis, shape=shape_around(8)),
)
FULL: Final = outages(FULL_SECONDS)
