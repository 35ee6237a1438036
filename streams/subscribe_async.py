"""`AsyncResultSubscriber`: the same subscriber for asyncio, read in a thread of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from producers.kafka_connection import KafkaAddress
from schemas.result import PromptResult
from streams.subscribe import ResultSubscriber
from streams.subscribe_start import Start

_WAIT_SECONDS: Final = 0.5

Outcome = TypeVar("Outcome")


class AsyncResultSubscriber:
    """See ResultSubscriber. Connects at `ready()`, at `async with`, or with the first result asked for."""

    def __init__(
        self,
        kafka: KafkaAddress,
        *,
        start: Start = "now",
        tenant: str | None = None,
        group: str | None = None,
        **options: Any,
    ) -> None:
        self._build = partial(ResultSubscriber, kafka, start=start, tenant=tenant, group=group, **options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results")
        self._subscriber: ResultSubscriber | None = None
        self._awaited: asyncio.Future[PromptResult | None] | None = None
        self._closed = False

    async def ready(self) -> None:
        """Return when nothing published from now on can be missed. Safe to repeat."""
        await self._in_thread(self._connected)

    async def poll(self, timeout_seconds: float = 0.0) -> PromptResult | None:
        """The next result, or None when none came in time or the subscriber is closed."""
        if self._closed:
            return None
        # A cancelled wait (a timeout of the caller's) must not lose the result that its thread still brings.
        if self._awaited is None:
            self._awaited = asyncio.ensure_future(self._poll_in_thread(timeout_seconds))
        result = await asyncio.shield(self._awaited)
        self._awaited = None
        return result

    async def __aiter__(self) -> AsyncIterator[PromptResult]:
        while not self._closed:
            result = await self.poll(_WAIT_SECONDS)
            if result is not None:
                yield result

    async def close(self) -> None:
        """End the iteration and leave the group. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._disconnect)

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _connected(self) -> ResultSubscriber:
        if self._subscriber is None:
            self._subscriber = self._build()
        return self._subscriber

    def _disconnect(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
        self._thread.shutdown()
        if self._subscriber is not None:  # built by a call that was on its way when `close` came
            self._subscriber.close()

    async def _poll_in_thread(self, timeout_seconds: float) -> PromptResult | None:
        if self._closed:  # since this was asked for: the thread takes nothing any more
            return None
        return await self._in_thread(lambda: self._connected().poll(timeout_seconds))

    async def _in_thread(self, call: Callable[[], Outcome]) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
