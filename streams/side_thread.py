"""A thread beside the event loop for a client that blocks: one call after the other, each answered on the loop."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class SideThread:
    """Starts with the first call. A daemon: one that a silent server holds up keeps no process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        """The future answer of `call`, or what it raises; a cancelled one is carried out all the same."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._calls.put(lambda: _carry_out(call, future, loop))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return future

    def leave(self) -> None:
        """The thread ends when it has carried out what was asked before."""
        self._calls.put(None)

    def _work(self) -> None:
        while (carry_out := self._calls.get()) is not None:
            carry_out()


def _carry_out(call: Callable[[], Answer], future: "asyncio.Future[Answer]", loop: asyncio.AbstractEventLoop) -> None:
    try:
        answer = call()
    except BaseException as error:  # noqa: BLE001 - it is the asker's, whatever it is
        _tell(loop, future, future.set_exception, error)
    else:
        _tell(loop, future, future.set_result, answer)


def _tell(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", tell: Callable[[Any], None], what: Any
) -> None:
    def on_loop() -> None:
        if not future.done():
            tell(what)

    try:
        loop.call_soon_threadsafe(on_loop)
    except RuntimeError:
        return  # the loop is closed: nobody asks any more
