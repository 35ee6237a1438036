"""A gateway in this process on memory adapters, and one as its operators run it, on real servers."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from ops.local import processes
from ops.local.part import Command, Stop
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http
from producers.gateway.app import gateway_app
from producers.gateway.budgets import NoBudgets
from producers.gateway.bulk_book import NoLines
from producers.gateway.callers import SCOPES, Caller, KeyId
from producers.gateway.feed import NoFeed
from producers.gateway.health import Health
from producers.gateway.ids import SignedIds
from producers.gateway.load import NoLoad
from producers.gateway.quotas import NoQuotas
from producers.gateway.waiting import NoResults
from producers.memory_publisher import MemoryPublisher
from streams.bulk_jobs.memory_jobs import MemoryJobs
from streams.gateway.memory_idempotency import MemoryIdempotency
from streams.gateway.memory_lookup import MemoryLookup
from streams.gateway_wiring import BulkPorts, Ports, routers_of
from tests.pipeline import until

ACME_KEY = "hr_of-acme-in-a-test"
GLOBEX_KEY = "hr_of-globex-in-a-test"
IDS = SignedIds(b"a secret of a test")


def as_caller(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


ACME = as_caller(ACME_KEY)
GLOBEX = as_caller(GLOBEX_KEY)


@dataclass
class Keys:
    """Two tenants' keys, with every scope unless a test says otherwise."""

    callers: dict[str, Caller] = field(
        default_factory=lambda: {
            ACME_KEY: Caller(KeyId("acme-1"), "acme", SCOPES),
            GLOBEX_KEY: Caller(KeyId("globex-1"), "globex", SCOPES),
        }
    )

    async def caller_of(self, secret: str) -> Caller | None:
        return self.callers.get(secret)


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Parts:
    """What a gateway on memory stands on; change what a test is about before it is `running`."""

    publisher: MemoryPublisher = field(default_factory=MemoryPublisher)
    lookup: MemoryLookup = field(default_factory=MemoryLookup)
    keys: Keys = field(default_factory=Keys)
    clock: Clock = field(default_factory=Clock)
    others: dict[str, Any] = field(default_factory=dict)

    def ports(self) -> Ports:
        usual = Ports(
            ids=IDS,
            publisher=self.publisher,
            keys=self.keys,
            quotas=NoQuotas(),
            budgets=NoBudgets(),
            waiter=NoResults(),
            feed=NoFeed(),
            bulk=BulkPorts(MemoryJobs(self.clock), NoLines(), self.publisher),
            idempotency=MemoryIdempotency(self.clock),
            lookup=self.lookup,
            load=NoLoad(),
            health=Health({}, {}),
            default_model="claude-haiku-5-5",
        )
        return replace(usual, **self.others)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(gateway_app(routers_of(self.ports())), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=_JSON) as client:
            yield client


@dataclass(frozen=True)
class RunningGateway:
    """One `headrace gateway` process and a client that shows its key."""

    client: httpx2.Client
    process: subprocess.Popen[bytes]
    url: str
    log: Path


_JSON = {"Content-Type": "application/json"}
LOCAL_KEY = "hr_of-the-local-tenant"
_STOP = Stop(grace_seconds=20)


@contextlib.contextmanager
def running_gateway(
    folder: Path, kafka: str, postgres: str, *, ready: bool = True, **settings: object
) -> Iterator[RunningGateway]:
    """Call it from the main thread; `settings` are HEADRACE_* in small letters."""
    port = choose_port()
    own: dict[str, object] = {
        "home": folder / "no-stack",
        "kafka": kafka,
        "postgres": postgres,
        "log_format": "json",
        "gateway_port": port,
        "gateway_key": LOCAL_KEY,
        "gateway_secret": "the same for all copies",
        **settings,
    }
    log = folder / f"gateway-{port}.log"
    command = Command((sys.executable, "-m", "ops.cli", "gateway"), _environment(own))
    process = processes.start(command, _STOP, log)
    url = f"http://{LOOPBACK}:{port}"
    try:
        path = "/readyz" if ready else "/livez"
        until(lambda: answers_http(url + path), 60, lambda: log.read_text()[-2000:])
        with httpx2.Client(base_url=url, headers=as_caller(LOCAL_KEY), timeout=30, trust_env=False) as client:
            yield RunningGateway(client, process, url, log)
    finally:
        processes.end([(process, _STOP)])


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()}


def own_database(dsn: str) -> str:
    """A new database on that server, without tables."""
    name = f"gateway_{uuid4().hex}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return dsn.rpartition("/")[0] + f"/{name}"
