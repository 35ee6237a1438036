"""A proxy of TCP connections that cuts the first ones where a test says: within an answer, or within what is sent."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE_BYTES = 16_384
_ENDLESS = 1 << 62


class CuttingProxy:
    """Connection n is cut after that many bytes of answers, or of `sent_limits` bytes sent; later ones are whole."""

    def __init__(self, url: str, answer_limits: Sequence[int], sent_limits: Sequence[int] = ()) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname, place.port
        self._answers, self._sent = list(answer_limits), list(sent_limits)
        self._under_way: set[asyncio.Task[None]] = set()
        self.cut = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for each in self._under_way:
            each.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        answers = self._answers.pop(0) if self._answers else _ENDLESS
        sent = self._sent.pop(0) if self._sent else _ENDLESS
        try:
            inner, outer = await asyncio.open_connection(self._host, self._port)
            await self._joined(_Way(reader, outer, sent), _Way(inner, writer, answers))
            outer.close()
        finally:
            writer.close()
            self._under_way.discard(task)

    async def _joined(self, *ways: "_Way") -> None:
        tasks = [asyncio.ensure_future(way.passed_on()) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.cut += any(way.left <= 0 for way in ways)


class _Way:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        self._reader = reader
        self._writer = writer
        self.left = limit

    async def passed_on(self) -> None:
        with suppress(ConnectionError):
            while piece := await self._reader.read(_PIECE_BYTES):
                self._writer.write(piece[: max(0, self.left)])
                self.left -= len(piece)
                await self._writer.drain()
                if self.left <= 0:
                    return
