"""The rehearsal server: the API's routes, the control routes, and one process around them."""

import asyncio
import contextlib
import gc
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from ops.rehearsal.ledger import CallLedger
from ops.rehearsal.messages import MessagesApi
from ops.rehearsal.rehearsal import Rehearsal
from ops.rehearsal.settings import RehearsalSettings
from ops.rehearsal.validation import MAX_BODY_BYTES
from ops.rehearsal.wire import error_body

_BACKLOG: Final = 4096
_OPEN_FILES: Final = 10_000
_SHUTDOWN_SECONDS: Final = 1.0
_KEEP_ALIVE_SECONDS: Final = 120.0
"""Longer than any client keeps an idle connection, so that a request never meets a closing one."""


class Control:
    """`/_rehearsal/...`, `/healthz` and `/metrics`: for tests, operators and the demo's books."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_rehearsal/settings", self.settings),
            web.put("/_rehearsal/settings", self.set_settings),
            web.get("/_rehearsal/ledger", self.ledger),
            web.delete("/_rehearsal/ledger", self.clear_ledger),
            web.get("/_rehearsal/summary", self.summary),
            web.get("/_rehearsal/health", self.health),
            web.get("/healthz", self.health),
            web.get("/metrics", self.metrics),
        ]

    async def settings(self, _request: web.Request) -> web.Response:
        return _json(self._rehearsal.settings.model_dump(mode="json"))

    async def set_settings(self, request: web.Request) -> web.Response:
        try:
            self._rehearsal.apply(self._rehearsal.settings.updated_by(await request.read()))
        except ValidationError as error:
            return _json({"error": error.errors(include_url=False, include_context=False)}, status=400)
        except ValueError as error:
            return _json({"error": str(error)}, status=400)
        return await self.settings(request)

    async def ledger(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._rehearsal.ledger.ndjson(), content_type="application/x-ndjson")

    async def clear_ledger(self, _request: web.Request) -> web.Response:
        self._rehearsal.ledger.clear()
        return web.Response(status=204)

    async def summary(self, _request: web.Request) -> web.Response:
        return _json({**self._rehearsal.ledger.summary(), "in_flight": self._rehearsal.in_flight})

    async def health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok", "rehearsed": True})

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=_exposition(self._rehearsal), content_type="text/plain")


def application(rehearsal: Rehearsal) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_api_errors])
    app.add_routes([*MessagesApi(rehearsal).routes(), *Control(rehearsal).routes()])
    return app


async def serve(host: str, port: int, settings: RehearsalSettings, ledger_path: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; prints one line with the address when ready (`port` 0 takes a free one)."""
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    with contextlib.closing(CallLedger(ledger_path)) as ledger:
        runner = web.AppRunner(
            application(Rehearsal(settings, ledger)),
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            _allow_many_connections()
            _spare_the_collector()
            await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
            bound_port = runner.addresses[0][1]
            sys.stdout.write(f"rehearsal model server ready on http://{host}:{bound_port} (answers are rehearsed)\n")
            sys.stdout.flush()
            await stopping.wait()
        finally:
            await runner.cleanup()


def _allow_many_connections() -> None:
    """Laptops start with 256 or 1,024 open files; a worker alone keeps 2,000 calls waiting."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_the_collector() -> None:
    """With thousands of calls waiting, full collections took half of the processor and found nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


@web.middleware
async def _api_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Unknown paths and methods in the API's shape, as its clients expect."""
    try:
        response: web.StreamResponse = await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        body = error_body(error.status, f"{request.method} {request.path}: {error.reason}", "req_none")
        return web.Response(body=body, status=error.status, content_type="application/json")
    return response


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def _exposition(rehearsal: Rehearsal) -> str:
    summary = rehearsal.ledger.summary()
    lines = [
        "# HELP headrace_rehearsal_calls_total Calls to the rehearsal model server by status.",
        "# TYPE headrace_rehearsal_calls_total counter",
        *(f'headrace_rehearsal_calls_total{{status="{s}"}} {n}' for s, n in summary["statuses"].items()),
        "# HELP headrace_rehearsal_in_flight Calls being answered now.",
        "# TYPE headrace_rehearsal_in_flight gauge",
        f"headrace_rehearsal_in_flight {rehearsal.in_flight}",
    ]
    return "\n".join(lines) + "\n"
