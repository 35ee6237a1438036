"""Workers that pay, over one ledger in memory, on a clock that moves when somebody sleeps."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

from schemas.request import CachePolicy
from schemas.result import Usage
from streams.admission import Work
from streams.cache.memory_cache import MemoryCache
from streams.cache.tiers import TieredCache
from streams.errors import ModelError
from streams.failpoints import Failpoints
from streams.ledger.memory_ledger import MemoryLedger, MemoryLedgerStore
from streams.ledger.port import LedgerUnavailable, Sending, Settlement, Verdict, Wish
from streams.model.gate import GateRules, ModelGate
from streams.model.memory_pauses import MemoryPauseBoard
from streams.model.port import Model, ModelPrompt, ModelReply
from streams.model.scripted import ScriptedModel
from streams.paying import FallbackPolicy, Payer, PayingRules, PayingTools
from tests.builders import A_TIME, Clock, a_request, an_id, some_work

PRICE = Decimal("0.25")


class FaultyLedger(MemoryLedger):
    """Away for as many of each operation as `failures` says."""

    def __init__(self, owner: str, now: Clock, store: MemoryLedgerStore) -> None:
        super().__init__(owner, now, store)
        self.failures: Counter[str] = Counter()

    async def claim(self, wishes: Sequence[Wish]) -> list[Verdict]:
        self._fail("claim")
        return await super().claim(wishes)

    async def mark_sent(self, sendings: Sequence[Sending]) -> list[bool]:
        self._fail("mark_sent")
        return await super().mark_sent(sendings)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self._fail("settle")
        return await super().settle(settlements)

    def _fail(self, operation: str) -> None:
        if self.failures[operation] > 0:
            self.failures[operation] -= 1
            raise LedgerUnavailable(operation)


class WatchedModel(ScriptedModel):
    """`meanwhile` happens while a call is under way."""

    def __init__(self, script: Iterable[str | ModelReply | ModelError] = ()) -> None:
        super().__init__(script)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.given_seconds: list[float] = []

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        self.given_seconds.append(deadline_seconds)
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().answer(prompt, deadline_seconds)


@dataclass
class World:
    """What every worker shares."""

    clock: Clock = field(default_factory=Clock)
    store: MemoryLedgerStore = field(default_factory=MemoryLedgerStore)
    board: MemoryPauseBoard = field(default_factory=MemoryPauseBoard)
    cancelled: set[UUID] = field(default_factory=set)
    slept: list[float] = field(default_factory=list)
    at_sleep: Callable[[], None] | None = None
    """Happens at every sleep."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        if self.at_sleep is not None:
            self.at_sleep()
        await asyncio.sleep(0)

    def is_cancelled(self, work: Work) -> bool:
        return work.request.request_id in self.cancelled


class PayingWorker:
    """One owner, with a model of its own."""

    def __init__(
        self,
        *script: str | ModelError,
        world: World | None = None,
        rules: PayingRules | None = None,
        price: Callable[[str, Usage], Decimal | None] = lambda *_: PRICE,
        gate_rules: GateRules | None = None,
        model: Model | None = None,
        fallback: FallbackPolicy | None = None,
        ceiling: Callable[[str, Usage], Decimal | None] | None = None,
    ) -> None:
        self.world = world or World()
        self.owner = str(uuid4())
        clock = self.world.clock
        self.model = WatchedModel(script)
        self.ledger = FaultyLedger(self.owner, clock, self.world.store)
        self.gate = ModelGate(self.world.board, gate_rules or GateRules(), clock, self.world.sleep)
        tiers = (MemoryCache(2**20, timedelta(hours=1), clock), MemoryCache(2**20, timedelta(hours=1), clock))
        self.cache = TieredCache(*tiers)
        tools = PayingTools(
            price=price,
            lifetime=lambda work: timedelta(0 if work.request.cache.mode == "bypass" else 1),
            is_cancelled=self.world.is_cancelled,
            now=clock,
            new_id=uuid4,
            random=Random(7),  # noqa: S311 - jitter
            failpoints=Failpoints(),
            sleep=self.world.sleep,
            fallback=fallback or FallbackPolicy(),
            ceiling=ceiling,
        )
        self.payer = Payer(self.ledger, model or self.model, self.gate, self.cache, rules or PayingRules(), tools)

    async def follow(self) -> None:
        await self.gate.look_at_board()

    @property
    def calls(self) -> int:
        return len(self.model.calls)


def asked(number: int = 1, mode: Any = "use", attempts: int = 0, seconds: float | None = None, **given: Any) -> Work:
    """The work of request `number`; `seconds` is how long after `A_TIME` its deadline is."""
    deadline = None if seconds is None else A_TIME + timedelta(seconds=seconds)
    fields = {"request_id": an_id(number), "accepted_at": A_TIME, "cache": CachePolicy(mode=mode), "deadline": deadline}
    return some_work(a_request(**(fields | given)), attempts=attempts)
