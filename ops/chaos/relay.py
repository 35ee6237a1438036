"""A TCP relay on loopback that loses replies by a rule: the request goes through, its answer never comes back."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from ops.local.ports import LOOPBACK

_CHUNK_BYTES: Final = 65_536
_READY_SECONDS: Final = 10.0


class ReplyRule:
    """Which replies are lost: those to the requests that hold `marker` and whose number, from 1, `loses` names."""

    def __init__(self, marker: bytes, loses: Callable[[int], bool]) -> None:
        self.marker = marker
        self.loses = loses
        self.seen = 0
        """Requests with the marker, over all connections."""
        self.lost = 0
        """Replies that had begun to come and were thrown away: what was asked was done."""


class Conversation:
    """One connection under a rule. A marker may be torn apart between two pieces of a request."""

    def __init__(self, rule: ReplyRule) -> None:
        self._rule = rule
        self._tail = b""
        self._is_doomed = False

    def asked(self, data: bytes) -> bool:
        """The client sent more. Whether it may pass: it always may."""
        rule, text = self._rule, self._tail + data
        for _ in range(text.count(rule.marker)):
            rule.seen += 1
            self._is_doomed = self._is_doomed or rule.loses(rule.seen)
        rest = text.rpartition(rule.marker)[2]
        self._tail = rest[-(len(rule.marker) - 1) :] if len(rule.marker) > 1 else b""
        return True

    def replied(self, data: bytes) -> bool:
        """The server sent more. Whether it may pass; if not, both sides are to be cut off."""
        del data
        self._rule.lost += self._is_doomed
        return not self._is_doomed


class Relay:
    """Relays in a thread of its own while the block runs; connections that are open then are cut."""

    def __init__(self, target: tuple[str, int], rule: ReplyRule) -> None:
        self.port = 0
        self._target = target
        self._rule = rule
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._carrying: set[asyncio.Future[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_READY_SECONDS):
            raise RuntimeError(f"the relay did not listen within {_READY_SECONDS:g} s; is any port of 127.0.0.1 free?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await asyncio.gather(*self._carrying)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            to_client.transport.abort()
            return
        conversation = Conversation(self._rule)
        ways = {
            asyncio.ensure_future(_pump(client, to_server, conversation.asked)),
            asyncio.ensure_future(_pump(server, to_client, conversation.replied)),
        }
        stopping = asyncio.ensure_future(self._stop.wait())
        self._carrying |= ways
        await asyncio.wait({*ways, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        to_server.transport.abort()
        to_client.transport.abort()
        await asyncio.wait(ways)
        self._carrying -= ways


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[bytes], bool]) -> None:
    """Until one side has ended, or something may not pass."""
    with suppress(OSError):
        while (data := await reader.read(_CHUNK_BYTES)) and passes(data):
            writer.write(data)
            await writer.drain()
        if not data:  # an orderly end: what was written before it still arrives
            writer.close()
            await writer.wait_closed()
