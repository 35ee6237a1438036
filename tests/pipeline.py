"""The pipeline as its operators run it: private servers that can be stopped and started, workers as processes."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from confluent_kafka import Producer
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ops.local import processes
from ops.local.kafka import kafka_server
from ops.local.lag import lag_per_topic
from ops.local.part import Command, Server, Stop
from ops.local.ports import LOOPBACK, choose_port
from ops.local.postgres import postgres_server
from ops.local.rehearsal import rehearsal_server
from ops.local.spare import spare_folder
from ops.local.valkey import valkey_server
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import BULK_REQUESTS, REQUESTS
from streams.subscribe import ResultSubscriber
from tests.rehearsal import RehearsalServer

_PASSWORD = "of-a-test"
_WORKER_STOP = Stop(grace_seconds=30)


def until(holds: Callable[[], Any], seconds: float = 30, told: Callable[[], object] = lambda: "") -> None:
    """Look until it holds; `told` says more when it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s. {told()}"
        time.sleep(0.05)


def a_question(tenant: str = "meridian", text: str | None = None) -> PromptRequest:
    """A request nobody has asked before, unless `text` says what it asks."""
    content = text or f"Which VLAN is native on port {uuid4()}?"
    return PromptRequest.model_validate(
        {"request_id": uuid4(), "tenant": tenant, "messages": [{"role": "user", "content": content}]}
    )


class RunningServer:
    """A server process that a test may stop, freeze and start again, on the same port and data."""

    def __init__(self, server: Server, log: Path) -> None:
        self.endpoint = server.endpoint
        self._part = server.part
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        processes.prepare(self._part.command)
        self._process = processes.start(self._part.command, self._part.stop, self._log)
        until(self._part.is_healthy, 60, lambda: self._log.read_text(errors="replace")[-1000:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            processes.end([(self._process, self._part.stop)])
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


@dataclass(frozen=True, slots=True)
class Worker:
    """One `headrace worker` process."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def health(self) -> tuple[int, str]:
        """Status and words of `/healthz`; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/healthz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> list[Metric]:
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=5) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    def total(self, sample: str) -> float:
        """The sum of one sample over its labels."""
        return sum(each.value for family in self.metrics() for each in family.samples if each.name == sample)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(_WORKER_STOP.grace_seconds)

    def kill(self) -> None:
        processes.kill_session(self.process.pid)
        self.process.wait()


@dataclass
class Following:
    """Every result of one tenant since the block began, also when it comes twice."""

    subscriber: ResultSubscriber
    seen: dict[UUID, list[PromptResult]] = field(default_factory=lambda: defaultdict(list))

    def take(self, seconds: float = 0.1) -> None:
        for result in self.subscriber.results(seconds):
            self.seen[result.request_id].append(result)

    def wait_for(self, asked: Collection[PromptRequest], seconds: float = 30) -> dict[UUID, PromptResult]:
        """The first result of each."""
        wanted = {request.request_id for request in asked}
        deadline = time.monotonic() + seconds
        while missing := wanted - self.seen.keys():
            assert time.monotonic() < deadline, f"{len(missing)} of {len(wanted)} have no result after {seconds:g} s"
            if result := self.subscriber.poll(0.2):
                self.seen[result.request_id].append(result)
        return {each: self.seen[each][0] for each in wanted}


class Pipeline:
    """Kafka with the declared topics, Valkey, Postgres, the rehearsal server; workers when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kafka = RunningServer(kafka_server(folder / "kafka"), folder / "kafka.log")
        self._redis = RunningServer(valkey_server(folder / "valkey", _PASSWORD), folder / "valkey.log")
        self._spare = spare_folder(f"test-{uuid4().hex[:12]}")
        self._postgres = RunningServer(
            postgres_server(folder / "postgres", _PASSWORD, self._spare), folder / "postgres.log"
        )
        self._model = RunningServer(rehearsal_server(), folder / "model.log")

    def start(self) -> None:
        for server in (self._kafka, self._redis, self._postgres, self._model):
            server.start()
        self.model = RehearsalServer(self._model.endpoint)
        self.model.reset()
        apply_topics(self.kafka)
        migrate_postgres(self._postgres.endpoint, datetime.now(UTC))

    def stop(self) -> None:
        for server in (self._model, self._postgres, self._redis, self._kafka):
            server.stop()
        shutil.rmtree(self._spare, ignore_errors=True)

    @property
    def kafka(self) -> str:
        return self._kafka.endpoint

    @property
    def postgres(self) -> str:
        return self._postgres.endpoint

    @property
    def broker(self) -> RunningServer:
        return self._kafka

    @property
    def shared_cache(self) -> RunningServer:
        return self._redis

    @contextlib.contextmanager
    def worker(self, name: str = "worker", *, ready: bool = True, **settings: object) -> Iterator[Worker]:
        """Running, and in its group if `ready`; `settings` are HEADRACE_* in small letters."""
        with self._process("worker", name, settings) as worker:
            if ready:
                until(lambda: worker.health()[0] == 200, 60, lambda: worker.log.read_text()[-2000:])
            yield worker

    @contextlib.contextmanager
    def retries(self) -> Iterator[None]:
        """The process that puts waiting requests back when they are due."""
        with self._process("retries", "retries", {}):
            yield

    @contextlib.contextmanager
    def _process(self, command: str, name: str, settings: dict[str, object]) -> Iterator[Worker]:
        worker = self._started(command, name, settings)
        try:
            yield worker
        finally:
            processes.end([(worker.process, _WORKER_STOP)])

    def _started(self, command: str, name: str, settings: dict[str, object]) -> Worker:
        port = choose_port()
        own = {"worker_name": name, "metrics_port": port, "session_timeout_seconds": 6, **settings}
        environment = {f"HEADRACE_{key.upper()}": str(value) for key, value in own.items()}
        log = self.folder / f"{name}-{port}.log"
        ours = Command((sys.executable, "-m", "ops.cli", command), self._environment() | environment)
        return Worker(processes.start(ours, _WORKER_STOP, log), f"{LOOPBACK}:{port}", log)

    def _environment(self) -> dict[str, str]:
        return {
            "HEADRACE_HOME": str(self.folder / "home"),
            "HEADRACE_KAFKA": self.kafka,
            "HEADRACE_REDIS": self._redis.endpoint,
            "HEADRACE_POSTGRES": self._postgres.endpoint,
            "HEADRACE_LOG_FORMAT": "json",
            "ANTHROPIC_BASE_URL": self._model.endpoint,
            "ANTHROPIC_API_KEY": "rehearsal",
        }

    @contextlib.contextmanager
    def following(self, tenant: str = "meridian") -> Iterator[Following]:
        with ResultSubscriber(self.kafka, tenant=tenant) as subscriber:
            yield Following(subscriber)

    def ask(self, requests: Iterable[PromptRequest], topic: str = REQUESTS, **config: object) -> None:
        """Publish as a stranger's producer would: bare JSON, no headers, no key."""
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 5, "acks": "all", **config})
        for request in requests:
            producer.produce(topic, request.model_dump_json(exclude_none=True).encode())
        assert producer.flush(60) == 0

    def lag(self) -> int:
        """Requests of both lanes that no worker has committed."""
        lag = lag_per_topic(self.kafka)
        return lag[REQUESTS] + lag[BULK_REQUESTS]

    def charged(self) -> list[str]:
        """The prompt's digest of every call the model was paid for."""
        return [call["prompt_sha256"] for call in self.model.ledger() if call["output_tokens"]]


@contextlib.contextmanager
def running_pipeline(folder: Path) -> Iterator[Pipeline]:
    """Call it from the main thread: its processes end with the thread that started them."""
    pipeline = Pipeline(folder)
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


def log_events(log: Path) -> list[dict[str, Any]]:
    """A worker's log, one document a line."""
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
