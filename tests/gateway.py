"""The gateway's routes on a real HTTP server in the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from granian.constants import Interfaces
from granian.server.embed import Server

from ops.local.ports import LOOPBACK, choose_port


@contextlib.asynccontextmanager
async def serving(application: Any) -> AsyncIterator[str]:
    """Its address, once it answers; its lifespan has ended with the block."""
    port = choose_port()
    server = Server(application, LOOPBACK, port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
    running = asyncio.ensure_future(server.serve())
    url = f"http://{LOOPBACK}:{port}"
    try:
        async with asyncio.timeout(30):
            await _answers(url, running)
        yield url
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({running}, timeout=15)


async def _answers(url: str, running: "asyncio.Future[None]") -> None:
    async with httpx2.AsyncClient() as client:
        while True:
            assert not running.done(), "the server ended"
            with contextlib.suppress(httpx2.TransportError):
                await client.get(f"{url}/")
                return
            await asyncio.sleep(0.05)
