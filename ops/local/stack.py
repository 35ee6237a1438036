"""The parts of the whole stack: a line here adds one."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from ops.local import clickhouse, gateway, kafka, postgres, rehearsal, valkey
from ops.local.clickhouse import clickhouse_server
from ops.local.gateway import GatewayPlace
from ops.local.home import Home
from ops.local.kafka import kafka_server
from ops.local.local_key import gateway_environment
from ops.local.part import Command, Kind, Part, Server, Stop
from ops.local.passwords import passwords_in
from ops.local.plan import Errand, Plan, Step
from ops.local.ports import LOOPBACK, choose_port
from ops.local.postgres import postgres_server
from ops.local.probes import answers_http
from ops.local.rehearsal import rehearsal_server
from ops.local.spare import forget_earlier_stacks, spare_folder
from ops.local.valkey import valkey_server
from streams.settings import Settings

_SINK_GRACE_SECONDS = 15.0
_AFTER_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Headrace:
    """How our own processes are started here: same interpreter, same servers, whatever the shell has set."""

    environment: dict[str, str]
    drain_seconds: float

    def command(self, *arguments: str, **more: str) -> Command:
        return Command((sys.executable, "-m", "ops.cli", *arguments), self.environment | more)

    def gateway(self, place: GatewayPlace, access: dict[str, str]) -> Part:
        return Part(
            "gateway",
            "gateway",
            self.command("gateway", **place.environment(), **access),
            place.address,
            lambda: answers_http(place.readiness),
            Stop(grace_seconds=self.drain_seconds + _AFTER_DRAIN_SECONDS),
        )

    def part(self, name: str, kind: Kind, *arguments: str) -> Part:
        port = choose_port()
        own = {"HEADRACE_METRICS_PORT": str(port), "HEADRACE_WORKER_NAME": name}
        grace_seconds = (
            _SINK_GRACE_SECONDS if kind in {"sink", "retries"} else self.drain_seconds + _AFTER_DRAIN_SECONDS
        )
        return Part(
            name,
            kind,
            self.command(*arguments, **own),
            f"{LOOPBACK}:{port}",
            lambda: answers_http(f"http://{LOOPBACK}:{port}/healthz"),
            Stop(grace_seconds=grace_seconds),
        )


def whole_stack(home: Home, settings: Settings, workers: int) -> Plan:
    """Servers, migrations and topics, the model unless one is set, workers, sinks, the gateway."""
    servers = _servers(home)
    rehearsed = settings.model_url is None and settings.model_key is None and not settings.model_endpoints
    endpoints = {name: server.endpoint for name, server in servers.items()}
    model: tuple[Part, ...] = ()
    if rehearsed:
        rehearsing = rehearsal_server(rehearsal.USUAL_PORT)
        model = (rehearsing.part,)
        endpoints["model"] = rehearsing.endpoint
    elif settings.model_url is not None:
        endpoints["model"] = settings.model_url
    place, access = _gateway_place(home), gateway_environment(home.root)
    endpoints["gateway"] = place.url
    ours = _Headrace(_environment(home, endpoints, rehearsed=rehearsed), settings.drain_seconds)
    ready = ("migrate", "topics", "valkey", *(part.name for part in model))
    steps = (
        *(Step(server.part) for server in servers.values()),
        *(Step(part) for part in model),
        Step(Errand("migrate", ours.command("migrate")), ("postgres", "clickhouse")),
        Step(Errand("local-key", ours.command("keys", "local", **access)), ("migrate",)),
        Step(Errand("topics", ours.command("topics", "apply")), ("kafka",)),
        *(Step(part, ready) for part in _workers(ours, workers)),
        Step(ours.part("retries", "retries", "retries"), ready),
        Step(ours.part("sink-clickhouse", "sink", "sink", "clickhouse"), ready),
        Step(ours.part("sink-postgres", "sink", "sink", "postgres"), ready),
        Step(ours.gateway(place, access), (*ready, "local-key")),
    )
    return Plan(steps, endpoints, rehearsed)


def _gateway_place(home: Home) -> GatewayPlace:
    passwords = passwords_in(home.root)
    return GatewayPlace(choose_port(gateway.USUAL_PORT), passwords.gateway_key, passwords.gateway)


def _servers(home: Home) -> dict[str, Server]:
    passwords = passwords_in(home.root)
    forget_earlier_stacks(home.data / "postgres", passwords.stack)
    build: dict[str, Callable[[], Server]] = {
        "kafka": lambda: kafka_server(home.data / "kafka", kafka.USUAL_PORT),
        "redis": lambda: valkey_server(home.data / "valkey", passwords.valkey, valkey.USUAL_PORT),
        "postgres": lambda: postgres_server(
            home.data / "postgres", passwords.postgres, spare_folder(passwords.stack), postgres.USUAL_PORT
        ),
        "clickhouse": lambda: clickhouse_server(home.data / "clickhouse", passwords.clickhouse, clickhouse.USUAL_PORT),
    }
    return {name: builder() for name, builder in build.items()}


def _workers(ours: _Headrace, count: int) -> list[Part]:
    # Each serves both lanes: a lane's work is never left to one process.
    names = [f"worker-{number}" for number in range(1, count + 1)]
    return [ours.part(name, "worker", "worker", "--lane", "interactive", "--lane", "bulk") for name in names]


def _environment(home: Home, endpoints: dict[str, str], *, rehearsed: bool) -> dict[str, str]:
    # Said outright, so that a HEADRACE_KAFKA of the shell never points a local worker at a real cluster.
    environment = {"HEADRACE_HOME": str(home.root), "HEADRACE_ENVIRONMENT": "local"}
    environment |= {
        f"HEADRACE_{name.upper()}": endpoints[name] for name in ("kafka", "redis", "postgres", "clickhouse")
    }
    if rehearsed:
        # Endpoints too: those of the shell cost money.
        rehearsal_only = {"ANTHROPIC_API_KEY": "rehearsal", "HEADRACE_MODEL_ENDPOINTS": "[]"}
        environment |= {"ANTHROPIC_BASE_URL": endpoints["model"], **rehearsal_only}
    return environment
