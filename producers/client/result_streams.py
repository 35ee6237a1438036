"""What `stream` returns: results one after the other, over as many connections as it takes."""

from collections import deque
from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Self

from producers.client.documents import StreamedResult
from producers.client.reading import ResultEvents


class ResultStream:
    """An iterator of results. Within `with` it is connected from the start: what is submitted then is not missed."""

    def __init__(self, events: ResultEvents, batches: Generator[list[StreamedResult], None, None]) -> None:
        self._events = events
        self._batches = batches
        self._waiting: deque[StreamedResult] = deque()

    def __enter__(self) -> Self:
        while not self._events.is_open:
            self._waiting += next(self._batches)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamedResult:
        while not self._waiting:
            self._waiting += next(self._batches)
        return self._waiting.popleft()

    def close(self) -> None:
        """Let go of the connection; not while another thread takes from it."""
        self._batches.close()


class AsyncResultStream:
    """The same for asyncio: `async with`, `async for`."""

    def __init__(self, events: ResultEvents, batches: AsyncGenerator[list[StreamedResult], None]) -> None:
        self._events = events
        self._batches = batches
        self._waiting: deque[StreamedResult] = deque()

    async def __aenter__(self) -> Self:
        while not self._events.is_open:
            self._waiting += await anext(self._batches)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamedResult:
        while not self._waiting:
            self._waiting += await anext(self._batches)
        return self._waiting.popleft()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._batches.aclose()
