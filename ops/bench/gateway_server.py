"""One granian worker in this process, as `headrace gateway` runs it."""

import asyncio
import signal
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from ops.local.ports import LOOPBACK


def serve(application: Any, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    asyncio.run(_serve(application, port))


async def _serve(application: Any, port: int) -> None:
    server = Server(
        application, LOOPBACK, port, interface=Interfaces.ASGI, backlog=4096, log_enabled=False, websockets=False
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()
