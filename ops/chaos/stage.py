"""One private stack of real servers and our own processes, in a folder of its own, under the hands of a fault."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ops.chaos.actor import Actor
from ops.chaos.membership import partitions_of
from ops.local.home import Home
from ops.local.lag import Partition, lag_per_topic
from ops.local.part import Part
from ops.local.plan import Plan, Step
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http
from streams.settings import Settings

SHORT_SETTINGS: Final[Mapping[str, object]] = {
    "retry_delays_seconds": "[1, 2, 4]",
    "session_timeout_seconds": 6,
    "ledger_lease_seconds": 4,
    "drain_seconds": 5,
    "longest_pause_seconds": 3,
    "refused_pause_seconds": 3,
    "stall_seconds": 10,
    "soft_deadline_seconds": 8,
    "hard_deadline_seconds": 10,
    "sink_batch_seconds": 0.3,
    "log_format": "json",
}
"""Production waits longer; the order of things is the same."""

SERVERS: Final = ("kafka", "valkey", "postgres", "clickhouse", "rehearsal")
_TICK_SECONDS: Final = 0.05
UP_SECONDS: Final = 90.0
_ATTEMPTS: Final = 3


PlanChange = Callable[[Home, Plan], Plan]
"""Makes another stack of the usual one."""


class StageError(RuntimeError):
    """The stage itself did not do what a fault needs: no verdict on the pipeline."""


class Stage:
    """Starts, stops, kills, freezes and restarts parts by name, from the main thread alone.

    Parts: kafka, valkey, postgres, clickhouse, rehearsal, worker-1.., retries, sink-clickhouse, sink-postgres.
    """

    def __init__(self, home: Home, plan: Plan) -> None:
        self.home = home
        self.endpoints = dict(plan.endpoints)
        self.keep_logs = False
        self.deaths: list[tuple[str, float, set[Partition]]] = []
        """Worker, unix time, and the partitions it held: its unfinished records there are orphaned."""
        self._steps = plan.steps
        self._actors = {
            step.work.name: Actor(_with_bill(step.work, home), home.log(step.work.name), _own(step.work))
            for step in plan.steps
            if isinstance(step.work, Part)
        }

    @property
    def settings(self) -> Settings:
        """The addresses, for reading the books."""
        given = {name: self.endpoints[name] for name in ("kafka", "redis", "postgres", "clickhouse")}
        return Settings.model_validate({**given, "ANTHROPIC_BASE_URL": self.endpoints["model"], "home": self.home.root})

    @property
    def ours(self) -> list[str]:
        """Workers, retries and sinks that should be running."""
        return [name for name, actor in self._actors.items() if name not in SERVERS and actor.wanted]

    @property
    def workers(self) -> list[str]:
        return [name for name in self.ours if self._actors[name].part.kind == "worker"]

    def actor(self, name: str) -> Actor:
        return self._actors[name]

    def start(self, name: str, *, ready: bool = True, **settings: object) -> None:
        """Start a part; `settings` are HEADRACE_* in small letters and hold for this start alone."""
        self._actors[name].start(**settings)
        if ready:
            self.until(lambda: self._actors[name].healthy, UP_SECONDS, f"{name} to be healthy")

    def stop(self, name: str) -> None:
        """Ask it to end and wait; it stays down until `start`."""
        self._actors[name].end()

    def restart(self, name: str, *, ready: bool = True, **settings: object) -> None:
        self.stop(name)
        self.start(name, ready=ready, **settings)

    def kill(self, name: str, *, stay_down: bool = False) -> None:
        """SIGKILL. It is restarted half a second later, unless it is to `stay_down` until `start`."""
        actor = self._actors[name]
        actor.wanted = not stay_down
        if stay_down:
            self._note_death(actor)
        actor.kill()

    def pause(self, name: str) -> None:
        """SIGSTOP: it lives, holds its connections and does nothing."""
        self._note_death(self._actors[name])
        self._actors[name].pause()

    def resume(self, name: str) -> None:
        self._actors[name].resume()

    def add_worker(self, name: str, *, ready: bool = False, **settings: object) -> None:
        """One more worker; it leaves with `stop`, or at the latest with the fault."""
        model = self._actors["worker-1"].part
        port = choose_port()
        own = {"HEADRACE_METRICS_PORT": str(port), "HEADRACE_WORKER_NAME": name}
        command = replace(model.command, environment={**model.command.environment, **own})
        address = f"{LOOPBACK}:{port}"
        part = replace(
            model,
            name=name,
            command=command,
            address=address,
            is_healthy=lambda: answers_http(f"http://{address}/healthz"),
        )
        self._actors[name] = Actor(part, self.home.log(name), SHORT_SETTINGS)
        self.start(name, ready=ready, **settings)

    def model(self, **settings: Any) -> None:
        """Set the rehearsal server: latency_seconds, faults, limits."""
        body = json.dumps(settings).encode()
        asked = urllib.request.Request(f"{self.endpoints['model']}/_rehearsal/settings", body, method="PUT")  # noqa: S310 - loopback
        with urllib.request.urlopen(asked, timeout=10):  # noqa: S310 - loopback
            pass

    def wait(self, seconds: float) -> None:
        """Let time pass; what dies meanwhile is restarted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tend()
            time.sleep(_TICK_SECONDS)

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Let time pass until it holds. Raises StageError."""
        if not self.came_true(holds, seconds):
            raise StageError(f"waited {seconds:g} s for {what}; logs: {self.home.logs}")

    def came_true(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until it holds, or no longer than that."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                return False
            self.tend()
            time.sleep(_TICK_SECONDS)
        return True

    def tend(self) -> None:
        for actor in list(self._actors.values()):
            actor.tend(self._note_death)

    def lag(self) -> int | None:
        """Records that wait for any of our groups; None while the broker cannot be asked."""
        from confluent_kafka import KafkaException

        try:
            return sum(lag_per_topic(self.endpoints["kafka"], 2.0).values())
        except KafkaException:
            return None

    @property
    def steps(self) -> Sequence[Step]:
        """The parts and errands of the plan, each with what it needs."""
        return self._steps

    def whole_again(self, settings: Mapping[str, object] | None = None) -> None:
        """Every part of the plan running and well, extra workers gone; `settings` for our own, if they differ."""
        planned = {step.work.name for step in self._steps}
        for name in [name for name in self._actors if name not in planned]:
            self._actors.pop(name).end()
        wanted = {**SHORT_SETTINGS, **(settings or {})}
        for name, actor in self._actors.items():
            actor.resume()
            if name not in SERVERS and actor.settings != wanted:
                actor.end()
                actor.settings = dict(wanted)
            if not actor.alive:
                actor.start()
        for name, actor in self._actors.items():
            self.until(lambda actor=actor: actor.healthy, UP_SECONDS, f"{name} to be healthy")  # type: ignore[misc]

    def go_down(self) -> None:
        """End everything that was started, by its id."""
        kinds = (("gateway", "worker"), ("sink", "retries"), ("model", "server"))
        for among in kinds:
            leaving = [actor for actor in self._actors.values() if actor.part.kind in among]
            for actor in leaving:
                actor.ask_to_end()
            for actor in leaving:
                actor.end()

    def _note_death(self, actor: Actor) -> None:
        if actor.part.kind == "worker":
            at = time.time()
            held = partitions_of(self.endpoints["kafka"], actor.name) if self._actors["kafka"].alive else set()
            self.deaths.append((actor.name, at, held))


def _own(work: Part) -> Mapping[str, object]:
    return {} if work.name in SERVERS else SHORT_SETTINGS


def _with_bill(part: Part, home: Home) -> Part:
    """The model's own ledger survives its restart."""
    if part.kind != "model":
        return part
    argv = (*part.command.argv, "--ledger", str(home.root / "model-ledger.ndjson"))
    return replace(part, command=replace(part.command, argv=argv))
