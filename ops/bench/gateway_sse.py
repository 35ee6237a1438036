"""`headrace bench gateway`, streams part: 2,000 subscribers on one gateway, each result once to each that may see it.

The subscribers are plain sockets in this process; the results are published as workers do.
"""

import asyncio
import re
import resource
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from ops.bench.gateway import Stage, gateway_stage
from ops.bench.gateway_bulk import GatewayUse
from ops.bench.report import Bar, Report
from ops.bench.sinks import a_result
from ops.local.gateway import GatewayPlace
from ops.local.ports import LOOPBACK
from producers.client_config import producer_config
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from streams.gateway.local_keys import LOCAL_TENANT

_DEPARTMENTS: Final = ("noc", "core", "edge", "wan")
_STRANGER: Final = "another-tenant"
_REQUEST_ID: Final = re.compile(rb'"request_id":"([0-9a-f-]{36})"')
_CONNECT_AT_ONCE: Final = 50
_ALL_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """`results` of each department; another tenant has as many. `pace_per_second` of all together."""

    subscribers: int = 2000
    results: int = 50
    pace_per_second: float = 20.0


class Subscriber:
    """One connection; `seen` counts each request id."""

    def __init__(self, department: str) -> None:
        self.department = department
        self.seen: Counter[bytes] = Counter()
        self.ended = False

    async def connect(self, place: GatewayPlace) -> asyncio.StreamReader:
        """Return when the stream's opening frame is there."""
        reader, writer = await asyncio.open_connection(LOOPBACK, place.port, limit=2**20)
        self._writer = writer
        path = f"/v1/results/stream?department={self.department}"
        asked = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {place.key}\r\n\r\n"
        writer.write(asked.encode())
        head = await reader.readuntil(b"retry: ")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a subscriber was refused: {head[:60]!r}")
        return reader

    async def follow(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while data := await reader.read(65_536):
            # Ids may be torn between two pieces; only what begins an event's data counts.
            text = rest + data
            end = 0
            for found in _REQUEST_ID.finditer(text):
                self.seen[found[1]] += 1
                end = found.end()
            rest = text[max(end, len(text) - 60) :]
        self.ended = True

    def close(self) -> None:
        self._writer.close()


def run(size: Size | None = None) -> Report:
    """On servers of its own. Raises RuntimeError where a subscriber is refused."""
    chosen = size or Size()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * chosen.subscribers + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home, gateway_stage(Path(home)) as stage:
        row = asyncio.run(_measured(stage, chosen))
    bars = [
        Bar("subscribers that had each of their results exactly once", row["complete"], chosen.subscribers),
        Bar("results that a subscriber may not see", row["strangers"], 0, at_least=False),
    ]
    return Report(
        "gateway-streams",
        bars,
        [row],
        ["One granian worker; Each subscriber wants one of 4 departments; every fifth result is another tenant's."],
    )


async def _measured(stage: Stage, size: Size) -> dict[str, Any]:
    gateway = GatewayUse(stage)
    rss_alone = gateway.rss_mib
    subscribers = [Subscriber(_DEPARTMENTS[number % len(_DEPARTMENTS)]) for number in range(size.subscribers)]
    following: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    for at in range(0, len(subscribers), _CONNECT_AT_ONCE):
        group = subscribers[at : at + _CONNECT_AT_ONCE]
        readers = await asyncio.gather(*(each.connect(stage.place) for each in group))
        following += [asyncio.ensure_future(each.follow(reader)) for each, reader in zip(group, readers, strict=True)]
    connected, rss_connected, cpu = time.perf_counter() - began, gateway.rss_mib, gateway.cpu_seconds
    began = time.perf_counter()
    published = await _publish(stage.kafka, size)
    while not all(len(each.seen) >= size.results for each in subscribers):
        if time.perf_counter() - began > _ALL_SECONDS or any(each.ended for each in subscribers):
            break
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    await asyncio.sleep(1)  # a repetition would come now
    row = {
        "subscribers": size.subscribers,
        "results": len(_DEPARTMENTS) * size.results,
        "deliveries": sum(each.seen.total() for each in subscribers),
        "complete": sum(each.seen == Counter(published[each.department]) for each in subscribers),
        "strangers": sum(len(each.seen.keys() - set(published[each.department])) for each in subscribers),
        "connected_seconds": round(connected, 2),
        "delivered_seconds": round(seconds, 2),
        "gateway_cpu_us_per_delivery": round((gateway.cpu_seconds - cpu) / (size.subscribers * size.results) * 1e6, 1),
        "rss_alone_mib": rss_alone,
        "rss_connected_mib": rss_connected,
        "rss_after_mib": gateway.rss_mib,
    }
    for each in subscribers:
        each.close()
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return row


async def _publish(kafka: str, size: Size) -> dict[str, list[bytes]]:
    """Ids by department, and those of the other tenant; a steady pace, as workers finish."""
    producer = Producer(producer_config(kafka, 30, {}))
    published: dict[str, list[bytes]] = {name: [] for name in (*_DEPARTMENTS, _STRANGER)}
    began = time.perf_counter()
    for number in range(size.results * len(published)):
        name, request_id = (*_DEPARTMENTS, _STRANGER)[number % len(published)], uuid7()
        tenant = _STRANGER if name == _STRANGER else LOCAL_TENANT
        given = {"tenant": tenant, "request_id": request_id, "department": _DEPARTMENTS[number % len(_DEPARTMENTS)]}
        if tenant == LOCAL_TENANT:
            given["department"] = name
        result = a_result(number).model_copy(update=given)
        record = encode_result(result)
        producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
        producer.poll(0)
        published[name].append(str(request_id).encode())
        await asyncio.sleep(max(0.0, began + (number + 1) / size.pace_per_second - time.perf_counter()))
    if await asyncio.to_thread(producer.flush, 30):
        raise RuntimeError("the broker did not take every result in 30 s; run: headrace doctor")
    return published
