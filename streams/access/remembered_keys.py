"""The key ring of a gateway: asks the store once in a few seconds per key, and goes on while the store is away."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

from producers.gateway.callers import Caller, KeyId, KeysUnavailableError
from streams.access.keys import ApiKey, Pepper, StoredKey, read_key
from streams.access.port import KeyStore
from streams.logs import logger_named

log = logger_named("access")

_AWAY_SECONDS: Final = 1.0
"""How long nobody waits for a store that was away; then one lookup finds out."""


@dataclass(frozen=True, slots=True)
class RingRules:
    """How long a gateway believes what it was told, and how much of it it remembers."""

    fresh_seconds: float = 3.0
    """A revocation is known everywhere after so long; so is a new key that was tried too early."""
    grace_seconds: float = 300.0
    """While the store is away, keys known before are good for so long."""
    remembered: int = 10_000


@dataclass(frozen=True, slots=True)
class _Memory:
    stored: StoredKey | None
    at: float


class RememberedKeys:
    """See `KeyRing`. `now` is the wall clock, for expiry; `ticks` in seconds, for its own memory."""

    def __init__(
        self,
        store: KeyStore,
        pepper: Pepper,
        now: Callable[[], datetime],
        rules: RingRules | None = None,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._now = now
        self._rules = rules or RingRules()
        self._ticks = ticks
        # Two, so that a flood of ids that do not exist drives no real key out of memory.
        self._known: OrderedDict[KeyId, _Memory] = OrderedDict()
        self._unknown: OrderedDict[KeyId, _Memory] = OrderedDict()
        self._asking: dict[KeyId, asyncio.Future[StoredKey | None]] = {}
        self._away_until = float("-inf")
        self._away = False

    async def caller_of(self, secret: str) -> Caller | None:
        key = read_key(secret)
        if key is None:
            return None
        stored = await self._stored(key.key_id)
        return self._caller(key, stored)

    def _caller(self, key: ApiKey, stored: StoredKey | None) -> Caller | None:
        if stored is None or not self._pepper.proves(key, stored):
            return None
        return stored.caller(self._now())

    async def _stored(self, key_id: KeyId) -> StoredKey | None:
        memory = self._known.get(key_id) or self._unknown.get(key_id)
        if memory is not None and self._ticks() - memory.at <= self._rules.fresh_seconds:
            return memory.stored
        try:
            return await self._ask(key_id)
        except KeysUnavailableError:
            remembered = self._known.get(key_id)
            if remembered is None or self._ticks() - remembered.at > self._rules.grace_seconds:
                raise
            return remembered.stored

    async def _ask(self, key_id: KeyId) -> StoredKey | None:
        """One lookup at a time per key, whoever waits for it and whoever gives up waiting."""
        asking = self._asking.get(key_id)
        if asking is None:
            if self._ticks() < self._away_until:
                raise KeysUnavailableError("the store of keys was away a moment ago")
            asking = asyncio.ensure_future(self._look_up(key_id))
            self._asking[key_id] = asking
            asking.add_done_callback(lambda done: self._asked(key_id, done))
        return await asyncio.shield(asking)

    async def _look_up(self, key_id: KeyId) -> StoredKey | None:
        # Before the answer: what was revoked while it was on its way is old news sooner, not later.
        began = self._ticks()
        try:
            found = await self._store.find(key_id)
        except KeysUnavailableError as error:
            if not self._away:
                log.warning("keys_away", reason=str(error), known_ones_good_for_seconds=self._rules.grace_seconds)
            self._away, self._away_until = True, self._ticks() + _AWAY_SECONDS
            raise
        self._away = False
        self._remember(key_id, _Memory(found, began))
        return found

    def _asked(self, key_id: KeyId, done: "asyncio.Future[StoredKey | None]") -> None:
        self._asking.pop(key_id, None)
        if not done.cancelled():
            done.exception()

    def _remember(self, key_id: KeyId, memory: _Memory) -> None:
        self._known.pop(key_id, None)
        self._unknown.pop(key_id, None)
        kept = self._unknown if memory.stored is None else self._known
        kept[key_id] = memory
        while len(kept) > self._rules.remembered:
            kept.popitem(last=False)
