"""The sample gateway on a real server, run as `python -m tests.gateway_process PORT KEY`; its bounds are short."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from producers.gateway.intake_rules import SERVER_BOUNDS, BodyRule, IntakeRules
from streams.access.keys import read_key
from tests.access import TestRing, a_stored_key
from tests.sample_gateway import sample_app

RULES = replace(
    IntakeRules(),
    bodies={"/v1/bulk": BodyRule(50_000_000, frozenset({"application/x-ndjson"}), streamed=True)},
    other_bodies=BodyRule(100_000),
    body_grace_seconds=1.0,
)
BOUNDS: dict[str, Any] = {**SERVER_BOUNDS, "header_read_timeout": 1000}


async def serve(port: int, text: str) -> None:
    ring, key = TestRing(), read_key(text)
    assert key is not None
    await ring.store.add(a_stored_key(key, "meridian"))
    server = Server(
        sample_app(ring.ring, rules=RULES),
        "127.0.0.1",
        port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(**BOUNDS),
        log_enabled=False,
    )
    await server.serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
