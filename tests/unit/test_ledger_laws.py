"""Whatever owners do and however they die: one live call per key, every extra one on record, no answer overwritten."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ledger.memory_ledger import MemoryLedger, MemoryLedgerStore
from streams.ledger.port import Claimed, RequestKey, Wish
from streams.ledger.waiting import waits_seconds
from tests.ledgers import a_sending, answered, ended, released, unknown

KEYS = [RequestKey(f"meridian:{name}") for name in ("one", "two")]
ACTIONS = ("claim", "claim", "send", "send", "answer", "release", "end", "unknown", "kill")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2), st.sampled_from(KEYS)), max_size=40)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Histories:
    """Three workers that remember every claim they were ever given, as zombies do."""

    def __init__(self, *, retry: bool) -> None:
        self.store = MemoryLedgerStore()
        self.names = [f"worker-{n}" for n in range(3)]
        self.wish = {key: Wish(key, "meridian", uuid4(), retry_ambiguous=retry) for key in KEYS}
        self.claims: dict[tuple[int, RequestKey], tuple[int, UUID, bool]] = {}

    def ledger(self, number: int) -> MemoryLedger:
        return MemoryLedger(self.names[number], lambda: NOW, self.store)

    async def step(self, action: str, number: int, key: RequestKey) -> None:
        wish, ledger = self.wish[key], self.ledger(number)
        if action == "kill":
            self.store.kill(self.names[number])
            # A process that starts again has another name; what the old one held is still said under its epoch.
            self.names[number] = f"worker-{uuid4()}"
        elif action == "claim":
            (verdict,) = await ledger.claim([wish])
            if isinstance(verdict, Claimed):
                self.claims[number, key] = (verdict.epoch, uuid4(), False)
        elif (number, key) in self.claims:
            await self.under_a_claim(action, ledger, number, wish)

    async def under_a_claim(self, action: str, ledger: MemoryLedger, number: int, wish: Wish) -> None:
        epoch, call_id, was_sent = self.claims[number, wish.key]
        if action == "send":
            (allowed,) = await ledger.mark_sent([a_sending(wish, epoch, call_id)])
            self.claims[number, wish.key] = (epoch, call_id, was_sent or allowed)
            return
        if action in {"answer", "unknown"} and not was_sent:
            return
        before = self.answer(wish.key)
        settlement = {
            "answer": lambda: answered(wish, epoch, call_id, call_id.bytes, expires_at=NOW + timedelta(hours=1)),
            "release": lambda: released(wish, epoch, call_id),
            "end": lambda: ended(wish, epoch, call_id),
            "unknown": lambda: unknown(wish, epoch, call_id),
        }[action]()
        (settled,) = await ledger.settle([settlement])
        if not settled:
            assert self.answer(wish.key) == before, "a fenced settlement changes no answer"

    def answer(self, key: RequestKey) -> bytes | None:
        row = self.store.rows.get(key)
        return None if row is None else row.answer

    def check(self) -> None:
        for key, row in self.store.rows.items():
            states = Counter(call.state for call in self.store.calls.values() if call.key == key)
            open_calls = [
                call_id for call_id, call in self.store.calls.items() if call.key == key and call.state == "sent"
            ]
            assert open_calls == ([row.call_id] if row.state == "sent" else []), "one live call at most, the claim's"
            assert states["answered"] + states["sent"] <= 1
            # A zombie that says it paid nothing takes its call off the list, never off the count of the key.
            assert states["ambiguous"] + states["late"] <= 2
            assert row.answer is None or states["answered"] == 1


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, retry=st.booleans())
def test_calls_of_a_key_are_one_and_one_more_for_each_on_record(
    steps: list[tuple[str, int, RequestKey]], *, retry: bool
) -> None:
    async def play() -> None:
        histories = Histories(retry=retry)
        for step in steps:
            await histories.step(*step)
            histories.check()

    asyncio.run(play())


@given(seed=st.integers())
def test_waits_grow_to_a_second_and_never_beyond(seed: int) -> None:
    waits = waits_seconds(Random(seed).random)  # noqa: S311
    taken = [next(waits) for _ in range(20)]
    assert 0.0375 <= taken[0] <= 0.05
    assert all(0.75 <= wait <= 1 for wait in taken[6:])
    assert all(later > earlier for earlier, later in pairwise(taken[:4]))
