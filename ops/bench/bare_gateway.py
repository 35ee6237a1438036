"""The thing compared with: FastAPI on the same server, a handler that does nothing."""

import argparse
import asyncio

from fastapi import FastAPI, Response
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

BODY = b'{"request_id":"0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04","status":"pending"}'


def bare_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/v1/requests", status_code=202)
    async def nothing() -> Response:
        return Response(BODY, 202, media_type="application/json")

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    server = Server(
        bare_app(),
        "127.0.0.1",
        parser.parse_args().port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
