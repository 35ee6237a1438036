"""How long each answer took, told by route and status: closed sets, whatever callers send."""

import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Observe = Callable[[str, int, float], None]
"""Told the route's pattern, the status, and the seconds until the answer began."""

_NO_ROUTE: Final = "none"


class Measured:
    """Middleware; a stream counts until its first byte."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _NO_ROUTE)
                self._observe(route, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, sending)
