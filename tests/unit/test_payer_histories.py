"""Whatever the model does and whoever dies: every request ends, nothing is paid twice unrecorded, equal keys agree."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.admission import Work
from streams.errors import ModelAmbiguous, ModelBusy, ModelPaused, ModelRejected, ModelUnavailable
from streams.ledger.port import RequestKey
from streams.model.gate import GateRules
from streams.paying import Deferred, FallbackPolicy, NotAnswered
from streams.request_key import request_key_of
from tests.answers_by_hand import turns
from tests.builders import MODEL
from tests.paying import PayingWorker, World, asked

WORKERS = 3
KEYS = 3
LIMITED = ModelBusy("rate_limit_error", "Slower.", 1.0, limited=True)
FAILURES = [
    ModelBusy("overloaded_error", "Later."),
    LIMITED,
    ModelPaused("authentication_error", "Who?"),
    ModelAmbiguous("connection_lost", "Gone."),
    ModelRejected("invalid_request_error", "No."),
    ModelUnavailable("not_found_error", "model: nobody"),
]
POLICIES = [FallbackPolicy(), FallbackPolicy({MODEL: ["claude-sonnet-5-5", "claude-opus-5-5"]})]
outcomes = st.lists(st.sampled_from([None, None, None, *FAILURES]), max_size=6)


@dataclass(frozen=True)
class Step:
    """One request handed to a worker; `fate` is what befalls the worker while its call is under way."""

    worker: int
    key: int
    fate: str


steps = st.builds(
    Step,
    worker=st.integers(0, WORKERS - 1),
    key=st.integers(0, KEYS - 1),
    fate=st.sampled_from(["", "", "", "killed", "asleep", "cut off from the ledger"]),
)


class History:
    """Requests, some answered at the same time, by workers that die and come back under a new name."""

    def __init__(self, scripts: list[list[object]], fallback: FallbackPolicy) -> None:
        self.fallback = fallback
        self.world = World()
        self.scripts = scripts
        self.answers: defaultdict[RequestKey, set[bytes]] = defaultdict(set)
        self.ended = 0
        self.workers = [self.started(index) for index in range(WORKERS)]

    def started(self, index: int) -> PayingWorker:
        script = [f"answer of {index}" if each is None else each for each in self.scripts[index]]
        self.scripts[index] = []
        gate_rules = GateRules(failures_to_break=2)
        return PayingWorker(*script, world=self.world, gate_rules=gate_rules, fallback=self.fallback)  # type: ignore[arg-type]

    async def answer(self, number: int, step: Step) -> None:
        """Let a request end, whatever it takes: redelivered where its worker died, brought back where it is to wait."""
        attempts, fate = 0, step.fate
        while True:
            worker = self.workers[step.worker]
            work = asked(number, messages=[{"role": "user", "content": f"question {step.key}"}], attempts=attempts)
            try:
                await self.befallen(worker, work, step.worker, fate)
            except NotAnswered:
                break
            except Deferred as later:
                attempts = later.attempts
                self.world.clock.advance(max((later.due_at - self.world.clock()).total_seconds(), 0))
            except asyncio.CancelledError:
                fate = ""
            else:
                break
        self.ended += 1

    async def befallen(self, worker: PayingWorker, work: Work, index: int, fate: str) -> None:
        answering = asyncio.ensure_future(worker.payer.answer(work))

        async def kill() -> None:
            worker.model.meanwhile = None
            self.world.store.kill(worker.owner)
            self.workers[index] = self.started(index)
            answering.cancel()
            await asyncio.sleep(0)

        async def sleep_past_the_lease() -> None:
            worker.model.meanwhile = None
            self.world.store.kill(worker.owner)
            await turns(40)
            self.world.store.revive(worker.owner)

        async def lose_the_ledger() -> None:
            worker.model.meanwhile = None
            worker.ledger.failures.update(settle=3, claim=2, mark_sent=1)

        befalls = {"killed": kill, "asleep": sleep_past_the_lease, "cut off from the ledger": lose_the_ledger}
        worker.model.meanwhile = befalls.get(fate, worker.model.meanwhile)
        paid = await answering
        self.answers[request_key_of(work)].add(paid.entry.to_bytes())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(outcomes, min_size=WORKERS, max_size=WORKERS),
    st.lists(st.lists(steps, max_size=4), max_size=4),
    st.sampled_from(POLICIES),
)
async def test_every_request_ends_and_every_key_is_paid_once_but_for_recorded_doubt(
    scripts: list[list[object]], waves: list[list[Step]], fallback: FallbackPolicy
) -> None:
    history = History(scripts, fallback)
    number = 0
    async with asyncio.timeout(20):
        for wave in waves:
            works = []
            for step in wave:
                number += 1
                works.append(history.answer(number, step))
            await asyncio.gather(*works)
    assert history.ended == number
    for key, row in history.world.store.rows.items():
        calls = [call.state for call in history.world.store.calls.values() if call.key == key]
        doubtful = calls.count("ambiguous") + calls.count("late")
        assert calls.count("answered") <= 1
        assert doubtful <= 2
        assert len(history.answers[key]) <= 1
        assert row.state not in {"claimed", "sent"} or row.owner in history.world.store.dead
