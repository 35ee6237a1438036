"""One copy of the gateway as a process: granian around the application, until SIGTERM."""

import asyncio
import signal
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from producers.gateway.intake_rules import SERVER_BOUNDS
from streams.gateway_wiring import build_gateway
from streams.logs import logger_named
from streams.process import allow_many_connections, cut_off_after, settle_memory, take_short_turns
from streams.settings import Settings

log = logger_named("gateway")

MOST_CONNECTIONS: Final = 10_000
"""At once; further ones wait to be taken. Streams of results hold theirs."""

_BACKLOG: Final = 2048
_AFTER_DRAIN_SECONDS: Final = 3.0


async def run_gateway(settings: Settings) -> int:
    """Answer until SIGTERM or SIGINT; then finish what was taken and leave. The exit code."""
    crashes: list[BaseException] = []
    loop = asyncio.get_running_loop()

    def end() -> None:
        log.info("ending")
        cut_off_after(settings.drain_seconds + _AFTER_DRAIN_SECONDS)
        server.stop()  # type: ignore[no-untyped-call]

    def crash(error: BaseException) -> None:
        crashes.append(error)
        end()

    app = build_gateway(settings, crash)
    server = Server(
        app,
        settings.gateway_host,
        settings.gateway_port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=MOST_CONNECTIONS,
        http1_settings=HTTP1Settings(**dict[str, Any](SERVER_BOUNDS)),
        log_enabled=False,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    allow_many_connections()
    settle_memory()
    take_short_turns()
    log.info(
        "starting", address=f"{settings.gateway_host}:{settings.gateway_port}", kafka=settings.kafka_connection.servers
    )
    await server.serve()
    log.info("stopped")
    return 1 if crashes else 0
