"""Single flight within one worker: identical questions at one time make one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from streams import metrics

Key = TypeVar("Key")
Value = TypeVar("Value")


class _LeaderLeftError(Exception):
    """The one that flew was cancelled; what it would have brought is nobody's."""


class SingleFlight(Generic[Key, Value]):
    """The first to ask for a key flies; the others wait for what it brings."""

    def __init__(self) -> None:
        self._flying: dict[Key, asyncio.Future[Value]] = {}

    async def fly(
        self, key: Key, start: Callable[[], Awaitable[Value]], patience_seconds: float | None = None
    ) -> tuple[Value, bool]:
        """What `start` brings, and whether this caller was the one that flew.

        It flies in its own task: most have no others, and a task for the flight costs three turns of a busy loop. A
        leader that is cancelled, as a worker's end cancels all, leaves it to the others to fly. Raises what `start`
        raises, and TimeoutError where the patience of one that waits for another ends.
        """
        while (flight := self._flying.get(key)) is not None:
            metrics.SHARED_FLIGHTS.inc()
            try:
                async with asyncio.timeout(patience_seconds):
                    return await asyncio.shield(flight), False
            except _LeaderLeftError:
                continue
        return await self._lead(key, start), True

    async def _lead(self, key: Key, start: Callable[[], Awaitable[Value]]) -> Value:
        flight = self._flying[key] = asyncio.get_running_loop().create_future()
        try:
            value = await start()
        except asyncio.CancelledError:
            _fail(flight, _LeaderLeftError())
            raise
        except BaseException as error:
            _fail(flight, error)
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            del self._flying[key]


def _fail(flight: asyncio.Future[Value], error: BaseException) -> None:
    flight.set_exception(error)
    flight.exception()  # looked at: where nobody waited, nobody need be told
