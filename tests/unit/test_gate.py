"""Whether the model may be called: pauses, the breaker, one probe at a time, and a board that all workers follow."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import metrics
from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused
from streams.model.gate import ACCOUNT, GateRules, ModelGate, Passage, Pause
from streams.model.memory_pauses import MemoryPauseBoard
from tests.answers_by_hand import turns
from tests.builders import A_TIME, MODEL, Clock

OTHER_MODEL = "claude-opus-5"
BUSY = ModelBusy("overloaded_error", "Later.")
PAUSED = ModelPaused("authentication_error", "Who?")
AMBIGUOUS = ModelAmbiguous("timeout", "Gone.")
RULES = GateRules(failures_to_break=3)


def limited(seconds: float | None = 5.0) -> ModelBusy:
    return ModelBusy("rate_limit_error", "Slower.", seconds, limited=True)


class HandBoard(MemoryPauseBoard):
    """Away, or slow, when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.while_reading: Callable[[], Awaitable[None]] | None = None

    async def read(self) -> Any:
        posted = None if self.away else await super().read()
        if self.while_reading is not None:
            await self.while_reading()
        return posted

    async def put(self, scope: str, pause: Pause) -> bool:
        return not self.away and await super().put(scope, pause)


class Door:
    """A gate on a clock that moves only when the test lets it: sleepers wake when their time has come."""

    def __init__(self, rules: GateRules = RULES, board: MemoryPauseBoard | None = None) -> None:
        self.clock = Clock()
        self.board = board or HandBoard()
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.gate = ModelGate(self.board, rules, self.clock, self._sleep)
        self.inside: list[Passage] = []

    @property
    def seconds(self) -> float:
        return (self.clock() - A_TIME).total_seconds()

    async def pass_time(self, seconds: float) -> None:
        end = self.seconds + seconds
        await turns()
        while due := [each for each in self._sleepers if each[0] <= end]:
            moment, sleeper = min(due, key=lambda each: each[0])
            self._sleepers.remove((moment, sleeper))
            self.clock.advance(max(moment - self.seconds, 0))
            if not sleeper.done():
                sleeper.set_result(None)
            await turns()
        self.clock.advance(end - self.seconds)

    async def _sleep(self, seconds: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, sleeper))
        await sleeper

    def ask(self, count: int = 1, model: str = MODEL) -> list["asyncio.Task[None]"]:
        """So many calls want to enter."""
        return [asyncio.create_task(self._enter(model)) for _ in range(count)]

    async def _enter(self, model: str) -> None:
        passage = await self.gate.enter(model)
        assert passage is not None
        self.inside.append(passage)

    async def call(self, error: ModelError | None = None, model: str = MODEL) -> None:
        """One call from the door to its end; it must be let in at once."""
        passage = await self.gate.enter(model, lambda: False)
        assert passage is not None, "held back"
        await self.gate.report(passage, error)

    async def is_open(self, model: str = MODEL) -> bool:
        passage = await self.gate.enter(model, lambda: False)
        if passage is not None:
            self.gate.leave(passage)
        return passage is not None


async def test_an_open_gate_lets_everything_in() -> None:
    door = Door()
    await asyncio.gather(*door.ask(100))
    assert len(door.inside) == 100


@pytest.mark.parametrize(("named", "held"), [(5.0, 5), (0.0, 0), (None, 2), (10**6, 60)])
async def test_a_rate_limit_holds_its_model_back_as_long_as_it_says_and_never_too_long(
    named: float | None, held: float
) -> None:
    door = Door()
    await door.call(limited(named))
    assert await door.is_open(OTHER_MODEL)
    if held:
        await door.pass_time(held - 0.001)
        assert not await door.is_open()
        await door.pass_time(0.001)
    assert await door.is_open()


async def test_a_refused_account_holds_every_model_back_and_raises_the_alarm() -> None:
    door = Door()
    await door.call(PAUSED)
    assert not await door.is_open()
    assert not await door.is_open(OTHER_MODEL)
    assert metrics.PAUSED_SCOPES.labels("refused")._value.get() == 1
    await door.pass_time(30)
    await door.call(None, OTHER_MODEL)
    assert metrics.PAUSED_SCOPES.labels("refused")._value.get() == 0
    assert await door.board.read() == {}


async def test_after_a_pause_one_goes_first_and_the_others_when_it_has_come_back() -> None:
    door = Door()
    await door.call(limited())
    asked = door.ask(50)
    await door.pass_time(5)
    assert len(door.inside) == 1
    await door.gate.report(door.inside[0], None)
    await asyncio.wait_for(asyncio.gather(*asked), 5)
    assert len(door.inside) == 50


async def test_what_entered_before_the_pause_lets_no_second_probe_in() -> None:
    door = Door()
    await asyncio.gather(*door.ask(3))
    early, *others = door.inside
    await door.gate.report(early, limited())
    door.ask(10)
    await door.pass_time(5)
    assert len(door.inside) == 4
    for passage in others:
        await door.gate.report(passage, None)
    await turns()
    assert len(door.inside) == 4


async def test_a_probe_that_was_not_made_leaves_its_turn_to_the_next() -> None:
    door = Door()
    await door.call(limited())
    door.ask(2)
    await door.pass_time(5)
    [first] = door.inside
    door.gate.leave(first)
    await turns()
    assert len(door.inside) == 2
    door.gate.leave(first)  # safe to repeat: the second one's turn is its own
    door.ask(1)
    await turns()
    assert len(door.inside) == 2


async def test_who_waits_for_its_model_keeps_the_accounts_probe_from_nobody() -> None:
    door = Door(GateRules(refused_pause=timedelta(seconds=1)))
    await door.call(limited(60))
    await door.call(PAUSED, OTHER_MODEL)
    door.ask(3)
    await door.pass_time(1)
    await door.call(None, OTHER_MODEL)
    assert await door.is_open(OTHER_MODEL)
    assert door.inside == []


async def test_who_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    door = Door()
    await door.call(limited())
    asked = door.ask(3)
    await turns()
    asked[0].cancel()
    await door.pass_time(5)
    await door.gate.report(door.inside[0], None)
    await turns()
    assert len(door.inside) == 2


async def test_who_is_not_wanted_any_more_stops_waiting() -> None:
    door, wanted = Door(), [True]
    await door.call(limited(60))
    waiting = asyncio.create_task(door.gate.enter(MODEL, lambda: wanted[0]))
    await door.pass_time(10)
    assert not waiting.done()
    wanted[0] = False
    await door.pass_time(1)
    assert await waiting is None


async def test_nobody_ticks_when_nobody_waits() -> None:
    door = Door()
    await door.call(limited(1))
    asked = door.ask(2)
    await door.pass_time(1)
    await door.gate.report(door.inside[0], None)
    await asyncio.gather(*asked)
    await door.pass_time(5)
    assert door._sleepers == []


@pytest.mark.parametrize("error", [BUSY, AMBIGUOUS])
async def test_failures_in_a_row_open_the_breaker_and_a_success_between_them_does_not(error: ModelError) -> None:
    door = Door()
    for outcome in (error, error, None, error, error):
        await door.call(outcome)
    assert await door.is_open()
    await door.call(error)
    assert not await door.is_open()
    assert await door.is_open(OTHER_MODEL)


async def test_a_failed_probe_breaks_again_for_longer_up_to_a_limit_and_a_success_closes() -> None:
    door = Door()
    for _ in range(3):
        await door.call(BUSY)
    for seconds in (2, 4, 8, 16, 30, 30):
        await door.pass_time(seconds - 0.001)
        assert not await door.is_open()
        await door.pass_time(0.001)
        await door.call(BUSY)
    await door.pass_time(30)
    await door.call(None)
    for outcome in (BUSY, BUSY, None, BUSY, BUSY, BUSY):
        await door.call(outcome)
    await door.pass_time(2)
    assert await door.is_open()


async def test_a_crowd_that_fails_together_breaks_once() -> None:
    door = Door()
    await asyncio.gather(*door.ask(100))
    for passage in list(door.inside):
        await door.gate.report(passage, BUSY)
    await door.pass_time(2)
    assert await door.is_open()


async def test_a_worker_follows_what_another_put_on_the_board_and_what_is_taken_off() -> None:
    board = HandBoard()
    here, there = Door(board=board), Door(board=board)
    await there.call(PAUSED)
    following = asyncio.create_task(here.gate.follow_board())
    await here.pass_time(1)
    asked = here.ask(20)
    await here.pass_time(1)
    assert here.inside == []
    await board.clear(ACCOUNT)
    await here.pass_time(1)
    await asyncio.wait_for(asyncio.gather(*asked), 5)
    following.cancel()


async def test_a_probe_of_another_worker_that_came_through_opens_ours() -> None:
    board = HandBoard()
    here, there = Door(board=board), Door(board=board)
    await there.call(limited())
    await here.gate.look_at_board()
    assert not await here.is_open()
    await there.pass_time(5)
    await there.call(None)
    await here.gate.look_at_board()
    assert await here.is_open()


async def test_a_clock_that_runs_ahead_elsewhere_holds_us_no_longer_than_our_own_rules() -> None:
    door = Door()
    await door.board.put(ACCOUNT, Pause(A_TIME + timedelta(days=9), "refused", "x"))
    for _ in range(120):
        await door.gate.look_at_board()
        await door.pass_time(0.5)
    assert await door.is_open()


async def test_a_board_that_is_away_leaves_each_worker_to_what_it_has_seen_itself() -> None:
    board = HandBoard()
    board.away = True
    door = Door(board=board)
    await door.call(limited())
    await door.gate.look_at_board()
    assert not await door.is_open()
    board.away = False  # back, and it never heard of the pause
    await door.gate.look_at_board()
    assert not await door.is_open()
    await door.pass_time(5)
    assert await door.is_open()


async def test_a_board_read_before_our_own_pause_was_on_it_does_not_undo_the_pause() -> None:
    board = HandBoard()
    door = Door(board=board)

    async def meanwhile() -> None:
        board.while_reading = None
        await door.call(PAUSED)

    board.while_reading = meanwhile
    await door.gate.look_at_board()
    assert not await door.is_open()
    await board.clear(ACCOUNT)
    await door.gate.look_at_board()
    assert await door.is_open()


actions = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "limited", "busy", "refused", "leave", "resume", "wait"]), st.integers(0, 7)
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(actions)
async def test_over_any_history_at_most_one_probes_and_all_who_wait_come_in(script: list[tuple[str, int]]) -> None:
    door = Door()
    errors: dict[str, ModelError | None] = {"answer": None, "limited": limited(3), "busy": BUSY, "refused": PAUSED}
    asked: list[asyncio.Task[None]] = []
    for action, number in script:
        if action == "ask":
            asked += door.ask(1 + number % 3, MODEL if number % 2 else OTHER_MODEL)
        elif action == "resume":
            await door.board.clear(ACCOUNT)
            await door.gate.look_at_board()
        elif action == "wait":
            await door.pass_time(number)
        elif door.inside:
            passage = door.inside.pop(number % len(door.inside))
            if action == "leave":
                door.gate.leave(passage)
            else:
                await door.gate.report(passage, errors[action])
        await turns(4)
        for scope in (ACCOUNT, MODEL, OTHER_MODEL):
            assert sum(scope in passage.probes for passage in door.inside) <= 1
    await _everybody_comes_in(door, asked)


async def _everybody_comes_in(door: Door, asked: list["asyncio.Task[None]"]) -> None:
    for _ in range(len(asked) + 5):
        while door.inside:
            await door.gate.report(door.inside.pop(), None)
            await turns(4)
        await door.pass_time(61)
    assert all(each.done() for each in asked)
