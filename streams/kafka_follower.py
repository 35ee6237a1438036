"""A thread that follows a topic without a group and hands it to an event loop, through any outage."""

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from confluent_kafka import Consumer, KafkaException

from producers.kafka_access import explained
from streams.logs import logger_named
from streams.subscribe_start import TopicMissingError

_AGAIN_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0


class TopicFollower(ABC):
    """What is heard is handed over on the loop of `start`. `_follow` runs in the thread until `_stop` is set."""

    _name: ClassVar[str]

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._ready = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._told = ""
        self._log = logger_named(self._name)

    def start(self) -> None:
        """Begin; call it on the loop that takes what is read."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read_on, args=(loop,), name=self._name, daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """See `await_ready`."""
        return self._ready.is_set()

    async def await_ready(self, timeout_seconds: float) -> bool:
        """Whether it was ready in time. A broker that is down, or a missing topic, is waited for."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the thread, which takes a second where it waits for a broker. Safe to repeat.

        A process must not end before it: the client's threads would meet what OpenSSL has already taken down.
        """
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    @abstractmethod
    def _consumer(self) -> Consumer: ...

    @abstractmethod
    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        """May raise KafkaException and TopicMissingError: it is called again then, with another consumer."""

    def _following(self) -> None:
        """For `_follow`, once it has its position: what goes wrong from here on is news again."""
        self._told = ""

    def _read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            consumer = self._consumer()
            try:
                self._follow(consumer, loop)
            except (KafkaException, TopicMissingError) as error:
                if (reason := _reason_of(error)) != self._told and not self._stop.is_set():
                    self._log.warning("the topic cannot be followed yet", error=reason)
                self._told = reason
                self._stop.wait(_AGAIN_SECONDS)
            except RuntimeError:  # the loop was closed before us
                return
            finally:
                consumer.close()


def _reason_of(error: Exception) -> str:
    return explained(error.args[0]) if isinstance(error, KafkaException) else str(error)
