"""Every answer on its way out: headers that browsers and proxies need to do no harm, and nothing about ourselves."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from itertools import chain
from typing import Any, Final

from fastapi import Request

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_MORE_HEADERS: Final = "headrace.answer_headers"
# The server writes its own name where there is none.
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"server", b""),
)
_UNLESS_SAID: Final = ((b"cache-control", b"no-store"),)
_OVER_TLS: Final = (b"strict-transport-security", b"max-age=31536000")
_ENDS_A_LINE: Final = re.compile(rb"[\r\n\x00]")
_OURS: Final = frozenset(name for name, _ in _ALWAYS)


class UnsafeHeaderError(ValueError):
    """A header would end its line: a caller's text got into it."""


def add_to_answer(request: Request, headers: Iterable[tuple[str, str]]) -> None:
    """Headers for the answer of this request, whatever it will be."""
    request.scope.setdefault(_MORE_HEADERS, []).extend(headers)


def forget_added(scope: MutableMapping[str, Any]) -> None:
    """The answer will be another one."""
    scope.pop(_MORE_HEADERS, None)


class Answer:
    """Stands between the application and the server; called as `send`. Raises UnsafeHeaderError."""

    def __init__(self, send: Send, scope: MutableMapping[str, Any]) -> None:
        self._send = send
        self._scope = scope
        self.status: int | None = None
        """None until an answer began."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = self._headers(message)
            self.status = message["status"]
            message = {**message, "headers": headers}
        await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        # Names are in small letters, as ASGI has it.
        headers = [(name, value) for name, value in message.get("headers", ()) if name not in _OURS]
        said = {name for name, _ in headers}
        headers += _ALWAYS
        headers += (header for header in _UNLESS_SAID if header[0] not in said)
        if self._scope.get("scheme") == "https":
            headers.append(_OVER_TLS)
        more: list[tuple[str, str]] = self._scope.get(_MORE_HEADERS, [])
        headers += ((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in more)
        if _ENDS_A_LINE.search(b"".join(chain.from_iterable(headers))):
            raise UnsafeHeaderError("an answer's header would end its line")
        return headers
