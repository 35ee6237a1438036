"""Waiting for a broker that is not there yet: a worker that ends at once would only be started again and again."""

import asyncio
from collections.abc import Collection
from typing import Final

from producers.kafka_access import require_access
from producers.kafka_connection import KafkaConnection
from streams.logs import logger_named

log = logger_named("broker")

_CONNECT_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 1.0


async def wait_for_broker(kafka: KafkaConnection, topics: Collection[str], give_up: asyncio.Event) -> bool:
    """True once one of the servers takes us; False when `give_up` is set before.

    Raises KafkaRefusedError where it accepts a connection and not us, or hides one of `topics`.
    """
    said = False
    while not give_up.is_set():
        if await _any_accepts(kafka.servers) and await asyncio.to_thread(require_access, kafka, topics):
            return True
        if not said:
            log.warning("waiting_for_broker", kafka=kafka.servers, next_step="headrace status, or set HEADRACE_KAFKA")
            said = True
        try:
            await asyncio.wait_for(give_up.wait(), _AGAIN_SECONDS)
        except TimeoutError:
            continue
    return False


async def _any_accepts(bootstrap_servers: str) -> bool:
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError, ValueError):
            continue
        writer.close()
        return True
    return False
