"""A body as it comes in: no larger than allowed, as sent and as unpacked, and no slower."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from producers.gateway.incoming_head import body_too_large
from producers.gateway.intake_rules import BodyRule, IntakeRules, Ticks
from producers.gateway.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_UNPACKED_BYTES: Final = 256 * 1024
"""At a time: a bomb fills no memory before it is noticed."""
_NO_BYTES: Final = b""


class BoundedBody:
    """Stands between the server and the application; called as `receive`. Raises Problem 400, 408, 413."""

    def __init__(self, receive: Receive, rule: BodyRule, rules: IntakeRules, ticks: Ticks, *, packed: bool) -> None:
        self._receive = receive
        self._rule = rule
        self._rules = rules
        self._ticks = ticks
        self._unpacking = zlib.decompressobj(_GZIP_WINDOW) if packed else None
        self._waited_seconds = 0.0
        self.sent_bytes = 0
        """As it came over the wire."""
        self._unpacked_bytes = 0
        self.complete = False
        self.cut = False
        """The caller went away before its end."""

    async def __call__(self) -> Message:
        if self.complete:
            return await self._receive()
        message = await self._in_time()
        if message["type"] == "http.disconnect":
            self.cut = True
            return message
        body = message.get("body", _NO_BYTES)
        self.sent_bytes += len(body)
        if self.sent_bytes > self._rule.max_bytes:
            raise body_too_large(self._rule)
        self.complete = not message.get("more_body", False)
        return message if self._unpacking is None else {**message, "body": self._unpacked(body)}

    async def whole(self) -> bytes | None:
        """All of it; None where the caller went away before its end."""
        parts: list[bytes] = []
        while not self.complete:
            message = await self()
            if self.cut:
                return None
            parts.append(message.get("body", _NO_BYTES))
        return _NO_BYTES.join(parts)

    async def _in_time(self) -> Message:
        """Only time spent waiting for the caller counts: an application that reads slowly is not its fault."""
        allowed = self._rules.body_grace_seconds + self.sent_bytes / self._rules.body_bytes_per_second
        if self._waited_seconds > allowed:
            raise _too_slow(self._rules)
        began = self._ticks()
        try:
            async with asyncio.timeout(allowed - self._waited_seconds):
                return await self._receive()
        except TimeoutError:
            raise _too_slow(self._rules) from None
        finally:
            self._waited_seconds += self._ticks() - began

    def _unpacked(self, packed: bytes) -> bytes:
        parts: list[bytes] = []
        unpacking = self._unpacking
        assert unpacking is not None  # noqa: S101 - asked only where it is packed
        try:
            while packed and not unpacking.eof:
                part = unpacking.decompress(packed, _UNPACKED_BYTES)
                self._unpacked_bytes += len(part)
                if self._unpacked_bytes > self._rule.max_bytes:
                    raise body_too_large(self._rule)
                parts.append(part)
                packed = unpacking.unconsumed_tail
        except zlib.error:
            raise _not_gzip() from None
        if unpacking.unused_data or (packed and unpacking.eof) or (self.complete and not unpacking.eof):
            raise _not_gzip()
        return _NO_BYTES.join(parts)


def body_cut() -> Problem:
    """400: fewer bytes came than were announced."""
    return Problem(400, "body_incomplete", "the body ended before its announced length", "Send it again, whole.")


def _too_slow(rules: IntakeRules) -> Problem:
    detail = f"the body came slower than {rules.body_bytes_per_second:.0f} bytes per second"
    return Problem(408, "body_too_slow", detail, "Send it faster, or in parts.", headers={"Connection": "close"})


def _not_gzip() -> Problem:
    return Problem(400, "body_not_gzip", "the body is not one whole gzip stream", "Pack it again, or send it plain.")
