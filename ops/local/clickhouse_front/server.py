"""The HTTP server: takes a request, lets a thread ask the engine, answers as ClickHouse does."""

import asyncio
import json
import re
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web
from multidict import CIMultiDict

from ops.local.clickhouse_front.engine import Engine, Reply
from ops.local.clickhouse_front.failure import ClickHouseFailure
from ops.local.clickhouse_front.request import MAX_BODY_BYTES, Credentials, decode_query

MAX_URL_BYTES = 128 * 1024
MAX_HEADER_BYTES = 16 * 1024
QUERY_THREADS = 8
_QUERY_ID = re.compile(r"[\x21-\x7e]{1,200}")
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}


class Front:
    def __init__(self, engine: Engine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials
        self._threads = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="query")

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/ping", _pong)
        application.router.add_get("/", self._answer)
        application.router.add_post("/", self._answer)
        application.on_cleanup.append(self._close)
        return application

    async def _close(self, _: web.Application) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._engine.close()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.method != "POST" and "query" not in request.query:
            return await _pong(request)
        headers = self._headers(request)
        try:
            self._credentials.check(request.headers, request.query)
            reply = await self._run(request)
        except ClickHouseFailure as failure:
            headers["X-ClickHouse-Exception-Code"] = str(failure.code)
            return web.Response(status=failure.status, headers=headers, text=failure.body(self._engine.version))
        headers["X-ClickHouse-Format"] = reply.format
        headers["X-ClickHouse-Summary"] = json.dumps(dict(reply.summary))
        headers["Content-Type"] = _CONTENT_TYPES.get(reply.format, "application/octet-stream")
        return web.Response(body=reply.body, headers=headers)

    async def _run(self, request: web.Request) -> Reply:
        url = dict(request.query)
        if request.content_type == "multipart/form-data":
            body = b""
            for name, value in (await request.post()).items():
                if not isinstance(value, str):
                    raise ClickHouseFailure(48, "External tables are not served here: insert them (NOT_IMPLEMENTED)")
                url[name] = value
        else:
            body = await _read(request)
        method, sent = request.method, request.headers
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._engine.run(decode_query(method, sent, url, body))
        )

    def _headers(self, request: web.Request) -> CIMultiDict[str]:
        asked = request.query.get("query_id", "")
        return CIMultiDict(
            {
                "X-ClickHouse-Query-Id": asked if _QUERY_ID.fullmatch(asked) else str(uuid.uuid4()),
                "X-ClickHouse-Timezone": self._engine.timezone,
                "X-ClickHouse-Server-Display-Name": socket.gethostname(),
            }
        )


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ClickHouseFailure(307, f"The body exceeds {MAX_BODY_BYTES} bytes (TOO_MANY_BYTES)") from error


async def _pong(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def serve(front: Front, host: str, port: int, stop: asyncio.Event) -> None:
    """Runs until `stop` is set, then refuses new work, finishes running queries and closes the engine."""
    runner = web.AppRunner(
        front.application(), access_log=None, auto_decompress=False,
        max_line_size=MAX_URL_BYTES, max_field_size=MAX_HEADER_BYTES, shutdown_timeout=30,
    )  # fmt: skip
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stop.wait()
    finally:
        await runner.cleanup()
