"""Many callers, one round trip: who is joined with whom, who hears of an error, what becomes of unheard answers."""

import asyncio
from collections.abc import Sequence

import pytest

from streams.group_commit import GroupCommit
from tests.answers_by_hand import turns


class Desk:
    """Doubles numbers when it is let; remembers what came together."""

    def __init__(self, most_at_once: int = 1) -> None:
        self.groups: list[list[int]] = []
        self.most_at_once = most_at_once
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False
        self.at_once = 0

    async def run(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.at_once += 1
        assert self.at_once <= self.most_at_once, "more under way than may be"
        await self.open.wait()
        self.at_once -= 1
        if self.broken:
            raise ConnectionError
        return [item * 2 for item in items]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def until_asked(desk: Desk, times: int) -> None:
    async with asyncio.timeout(5):
        while len(desk.groups) < times:  # noqa: ASYNC110 - a turn of the loop is what is waited for
            await asyncio.sleep(0)


async def test_a_lone_caller_does_not_wait_for_others(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=60)
    assert await asyncio.wait_for(commit.submit([1, 2]), 5) == [2, 4]


async def test_nothing_asked_is_nothing_sent(desk: Desk) -> None:
    assert await GroupCommit(desk.run).submit([]) == []
    assert desk.groups == []


async def test_who_asks_on_the_same_turn_goes_together_and_hears_its_own_part(desk: Desk) -> None:
    commit = GroupCommit(desk.run)
    assert await asyncio.gather(*(commit.submit([n, -n]) for n in range(20))) == [[2 * n, -2 * n] for n in range(20)]
    assert len(desk.groups) == 1


async def test_the_next_group_gathers_while_one_is_under_way(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=0)
    desk.open.clear()
    first = asyncio.create_task(commit.submit([1]))
    await until_asked(desk, 1)
    others = [asyncio.create_task(commit.submit([n])) for n in (2, 3)]
    await asyncio.sleep(0)
    desk.open.set()
    assert await asyncio.gather(first, *others) == [[2], [4], [6]]
    assert desk.groups == [[1], [2, 3]]


async def test_where_one_may_go_ahead_only_a_full_group_does_and_only_one() -> None:
    desk = Desk(most_at_once=2)
    commit = GroupCommit(desk.run, spacing_seconds=0, most_items=3, ahead=1)
    desk.open.clear()
    asked = [asyncio.create_task(commit.submit([0]))]
    await until_asked(desk, 1)
    asked += [asyncio.create_task(commit.submit([n])) for n in (1, 2)]
    await turns()
    assert desk.groups == [[0]]
    asked += [asyncio.create_task(commit.submit([n])) for n in (3, 4, 5, 6, 7)]
    await turns()
    assert desk.groups == [[0], [1, 2, 3]]
    desk.open.set()
    assert await asyncio.gather(*asked) == [[2 * n] for n in range(8)]
    assert [len(group) for group in desk.groups] == [1, 3, 3, 1]


async def test_draining_waits_for_the_group_that_went_ahead_too() -> None:
    desk = Desk(most_at_once=2)
    commit = GroupCommit(desk.run, spacing_seconds=0, most_items=1, ahead=1)
    desk.open.clear()
    asked = [asyncio.create_task(commit.submit([n])) for n in (0, 1)]
    await until_asked(desk, 2)
    draining = asyncio.create_task(commit.drained())
    await turns()
    assert not draining.done()
    desk.open.set()
    await asyncio.wait_for(draining, 5)
    assert all(each.done() for each in asked)


async def test_groups_are_spaced_and_a_full_one_does_not_wait(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=60, most_items=4)
    await commit.submit([0])
    waiting = [asyncio.create_task(commit.submit([n])) for n in (1, 2, 3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert desk.groups == [[0]]
    assert await asyncio.wait_for(commit.submit([4]), 5) == [8]
    assert await asyncio.gather(*waiting) == [[2], [4], [6]]
    assert desk.groups == [[0], [1, 2, 3, 4]]


async def test_no_group_is_larger_than_it_may_be_unless_one_caller_brings_more(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=0, most_items=4)
    await asyncio.gather(*(commit.submit([n] * 3) for n in range(3)), commit.submit(list(range(9))))
    assert sorted(len(group) for group in desk.groups) == [3, 3, 3, 9]


async def test_an_error_reaches_every_caller_and_the_next_group_goes_on(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=0)
    desk.broken = True
    heard = await asyncio.gather(*(commit.submit([n]) for n in range(3)), return_exceptions=True)
    assert [type(each) for each in heard] == [ConnectionError] * 3
    desk.broken = False
    assert await commit.submit([7]) == [14]


async def test_the_answers_of_a_cancelled_caller_are_passed_on_and_others_hear_theirs(desk: Desk) -> None:
    unheard: list[tuple[int, int]] = []
    commit = GroupCommit(desk.run, unheard=lambda item, answer: unheard.append((item, answer)))
    desk.open.clear()
    gone, stays = asyncio.create_task(commit.submit([1, 2])), asyncio.create_task(commit.submit([3]))
    await until_asked(desk, 1)
    gone.cancel()
    await asyncio.sleep(0)
    desk.open.set()
    assert await stays == [6]
    assert unheard == [(1, 2), (2, 4)]


async def test_who_is_cancelled_before_the_group_goes_is_left_out(desk: Desk) -> None:
    commit = GroupCommit(desk.run)
    gone, stays = asyncio.create_task(commit.submit([1])), asyncio.create_task(commit.submit([2]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == [4]
    assert desk.groups in ([[2]], [[1, 2]])


async def test_draining_sends_what_waits_at_once(desk: Desk) -> None:
    commit = GroupCommit(desk.run, spacing_seconds=60)
    await commit.submit([1])
    waiting = asyncio.create_task(commit.submit([2]))
    await asyncio.sleep(0)
    await asyncio.wait_for(commit.drained(), 5)
    assert await waiting == [4]
