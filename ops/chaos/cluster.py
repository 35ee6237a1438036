"""The stage's broker as a cluster: three KRaft nodes on loopback, three copies of everything, two of them in sync."""

import base64
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from ops.local import processes
from ops.local.home import Home
from ops.local.kafka import kafka_server
from ops.local.part import Command, Part, Server
from ops.local.plan import Errand, Plan, Step
from ops.local.ports import LOOPBACK, accepts_connections, choose_port

NODES: Final = ("kafka", "kafka-2", "kafka-3")
_HEAP: Final = "-Xmx256m"
_FORMAT_SECONDS: Final = 60
_LOOK_SECONDS: Final = 2.0

# In a properties file the last line of a name holds.
_CONFIGURATION: Final = """
node.id={number}
controller.quorum.voters={voters}
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
"""


def three_brokers(home: Home, plan: Plan) -> Plan:
    """The same stack on a cluster; its first node keeps the name `kafka`."""
    nodes = _nodes(home.data)
    kafka = ",".join(node.endpoint for node in nodes)
    names = tuple(node.part.name for node in nodes)
    steps = [_on_cluster(step, kafka, names) for step in plan.steps if step.work.name != "kafka"]
    return replace(
        plan,
        steps=(*(Step(node.part) for node in nodes), *steps),
        endpoints={**plan.endpoints, "kafka": kafka},
    )


def _nodes(folder: Path) -> list[Server]:
    controllers = [choose_port() for _ in NODES]
    voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in enumerate(controllers, 1))
    # An id that began with a hyphen would be taken for an option.
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x")
    nodes = []
    for number, (name, controller_port) in enumerate(zip(NODES, controllers, strict=True), 1):
        part, port = kafka_server(folder / name).part, choose_port()
        configuration = folder / name / "server.properties"
        place = {"host": LOOPBACK, "port": port, "controller_port": controller_port}
        with configuration.open("a") as lines:
            lines.write(_CONFIGURATION.format(number=number, voters=voters, **place))
        address = f"{LOOPBACK}:{port}"
        node = replace(part, name=name, address=address, is_healthy=partial(_sees_all, port))
        nodes.append(Server(_smaller(node, configuration, cluster_id), address))
    return nodes


def _smaller(node: Part, configuration: Path, cluster_id: str) -> Part:
    """Three brokers share what one has."""
    argv = tuple(_HEAP if word.startswith("-Xmx") else word for word in node.command.argv)
    prepare = _prepared(node.command, configuration, cluster_id)
    return replace(node, command=replace(node.command, argv=argv, prepare=prepare))


def _prepared(command: Command, configuration: Path, cluster_id: str) -> Callable[[], None]:
    """Give the node's segments the cluster's id before its own preparation would give them another."""
    storage = ("kafka.tools.StorageTool", "format", "--config", str(configuration), "--cluster-id", cluster_id)
    argv = (command.argv[0], "-Xmx128m", "-XX:+UseSerialGC", *storage)

    def prepare() -> None:
        if not (configuration.parent / "segments" / "meta.properties").exists():
            subprocess.run(
                argv, env=dict(command.environment), capture_output=True, timeout=_FORMAT_SECONDS, check=True
            )
        processes.prepare(command)

    return prepare


def _on_cluster(step: Step, kafka: str, nodes: tuple[str, ...]) -> Step:
    work = step.work
    if "HEADRACE_KAFKA" in work.command.environment:
        ours = {"HEADRACE_KAFKA": kafka, "HEADRACE_KAFKA_REPLICATION": str(len(nodes))}
        command = replace(work.command, environment={**work.command.environment, **ours})
        work = Errand(work.name, command) if isinstance(work, Errand) else replace(work, command=command)
    needs = tuple(need for need in step.needs if need != "kafka")
    return Step(work, (*needs, *nodes) if "kafka" in step.needs else needs)


def _sees_all(port: int) -> bool:
    """Whether this node knows every node of the cluster as well."""
    if not accepts_connections(port):
        return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{port}", "log_level": 0})
    try:
        return len(admin.list_topics(timeout=_LOOK_SECONDS).brokers) == len(NODES)
    except KafkaException:
        return False
