"""Ways an answer reaches the caller: whole, streamed, or spoilt on its way."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web

from ops.rehearsal.settings import DEFAULT_DRIP_SECONDS, DEFAULT_HANG_SECONDS, FaultRule

_DRIPS: Final = 20
_TRAVEL_SECONDS: Final = 0.05
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_SSE: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_JSON: Final = {"Content-Type": "application/json"}


def whole(body: bytes, headers: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={**_JSON, **headers})


async def streamed(
    request: web.Request, events: Iterable[bytes], headers: dict[str, str], seconds: float
) -> web.StreamResponse:
    """The events over `seconds`; a caller that has gone is not an error."""
    parts = list(events)
    response = web.StreamResponse(headers={**_SSE, **headers})
    with contextlib.suppress(ConnectionError):
        await _send_slowly(request, response, parts, seconds)
        await response.write_eof()
    return response


async def spoilt(
    request: web.Request, fault: FaultRule, parts: Sequence[bytes], headers: dict[str, str], *, is_stream: bool
) -> web.StreamResponse:
    """The answer as `fault.kind` ruins it; `parts` is the body, whole or by event."""
    response = web.StreamResponse(headers={**(_SSE if is_stream else _JSON), **headers})
    body = b"".join(parts)
    if not is_stream:
        response.content_length = len(body)
    with contextlib.suppress(ConnectionError):
        match fault.kind:
            case "hang":
                await asyncio.sleep(DEFAULT_HANG_SECONDS if fault.seconds is None else fault.seconds)
                _close(request)
            case "drip":
                seconds = DEFAULT_DRIP_SECONDS if fault.seconds is None else fault.seconds
                await _send_slowly(request, response, parts if is_stream else _drips(body), seconds)
                await response.write_eof()
            case "cut":
                await _send_slowly(request, response, [body[: len(body) // 2]], 0)
                _close(request)
            case "reset_after_headers":
                await response.prepare(request)
                # A reset throws away what has not reached the peer.
                await asyncio.sleep(_TRAVEL_SECONDS)
                _reset(request)
            case "reset_before":
                _reset(request)
            case _:
                await _send_malformed(request, response, body)
    return response


async def _send_slowly(
    request: web.Request, response: web.StreamResponse, parts: Sequence[bytes], seconds: float
) -> None:
    await response.prepare(request)
    pause = seconds / max(1, len(parts))
    for part in parts:
        await response.write(part)
        if pause > 0:
            await asyncio.sleep(pause)


async def _send_malformed(request: web.Request, response: web.StreamResponse, body: bytes) -> None:
    garbled = body[: len(body) // 2].replace(b"}", b"").replace(b"\n\n", b"") + b"\n\n"
    if response.content_length is not None:
        response.content_length = len(garbled)
    await response.prepare(request)
    await response.write(garbled)
    await response.write_eof()


def _drips(body: bytes) -> list[bytes]:
    size = max(1, -(-len(body) // _DRIPS))
    return [body[start : start + size] for start in range(0, len(body), size)]


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    """Close with RST instead of FIN."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
