"""Going carefully after a worker that ended without a word: out of memory, a segfault, `kill -9`.

Such a worker writes nothing down at its end, so it is written down before. Whoever reads partitions signs in, and out
when it lets go of them; one that finds the former still signed in goes carefully for a while. Records then go on in
steps, one after the other, small ones first, each written down as in hand before it is handed over and crossed out
after. What a death leaves in hand is taken in much smaller steps next time, in the end alone; a death at which a record
was alone in hand is that record's death. After as many as `condemned_after_deaths` the guard sets it aside.

So a record that is only in flight when its worker is killed is never counted, and a worker that nobody died before
writes two lines: when it gets its partitions, and when it leaves them.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.record import Record
from streams.admission.deaths import DeathBook, Place
from streams.admission.in_hand import Hands
from streams.logs import logger_named
from streams.offsets import Partition
from streams.runner import AnswerBatch, Release

log = logger_named("caution")

_FIRST_STEP: Final = 16
_LARGEST_STEP: Final = 256
_FINER: Final = 16
"""By how much smaller the steps are in which those are taken that a death left in hand."""
_COUNTED: Final = 2
"""Written at a record whose death was counted: it is taken alone, and was not alone in hand."""
_ENOUGH_RECORDS: Final = 2000
_ENOUGH_SECONDS: Final = 60.0
"""As many records, or so long, and the dead one's work has been passed; if not, the next death tells."""


@dataclass(slots=True, eq=False)
class _Call:
    """One batch that was handed in; `done` when none of its records is `left`."""

    left: int
    done: "asyncio.Future[None]"


class _Waiting(NamedTuple):
    record: Record
    call: _Call


class Caution:
    """Between a process's runners and `answer`; shared by all its lanes, as they die together.

    `patience_seconds`: a step that takes longer no longer holds up the next, and none of its records is alone any more.
    """

    def __init__(
        self,
        answer: AnswerBatch,
        hands: Hands,
        deaths: DeathBook,
        learn: Callable[[Mapping[Place, int]], None],
        reader: str,
        patience_seconds: float,
    ) -> None:
        self._answer = answer
        self._hands = hands
        self._deaths = deaths
        self._learn = learn
        self._reader = reader
        self._patience_seconds = patience_seconds
        self._careful = False
        self._until = 0.0
        self._survived = 0
        self._largest = _FIRST_STEP
        self._suspects: dict[Place, int] = {}
        """Records that a death left in hand, and with how many each may be taken at most."""
        self._ours: set[Partition] = set()
        self._in_hand: set[Place] = set()
        self._unwatched = 0
        self._lock = asyncio.Lock()
        self._turn: object = None
        self._queues: defaultdict[Release, deque[_Waiting]] = defaultdict(deque)
        """What waits for its step, by lane. A step takes from all batches: they come in ones and twos."""

    async def answer(self, records: Sequence[Record], release: Release) -> None:
        """An AnswerBatch."""
        if self._careful and not await self._is_over():
            await self._answer_carefully(records, release)
            return
        self._unwatched += len(records)
        try:
            await self._answer(records, release)
        finally:
            self._unwatched -= len(records)

    async def arrived(self, partitions: Iterable[Partition]) -> None:
        """These are ours from now on; to be told before their first record is taken."""
        ours = frozenset(partitions)
        self._ours |= ours
        left = await self._hands.sign_in(self._reader, ours)
        if not left.unclean and not left.in_hand:
            return
        alone = [place for place, together in left.in_hand.items() if together == 1 and place.where in left.unclean]
        await self._count(alone)
        self._learn(await self._deaths.read())
        self._suspects |= {place: max(1, together // _FINER) for place, together in left.in_hand.items()}
        log.warning("careful", unclean_partitions=len(left.unclean), suspects=len(left.in_hand), deaths=len(alone))
        self._begin()

    async def left(self, partitions: Iterable[Partition]) -> None:
        """These are no longer ours, and we live: nothing in hand there is the cause of a death."""
        leaving = frozenset(partitions)
        held = {place for place in self._in_hand if place.where in leaving}
        suspects = {place for place in self._suspects if place.where in leaving}
        self._ours -= leaving
        for place in suspects:
            del self._suspects[place]
        await self._hands.let_go(held - suspects)
        await self._hands.hold(held & suspects, _COUNTED)
        await self._hands.sign_out(leaving)

    async def _answer_carefully(self, records: Sequence[Record], release: Release) -> None:
        call = _Call(len(records), asyncio.get_running_loop().create_future())
        queue = self._queues[release]
        queue.extend(_Waiting(record, call) for record in records)
        while queue and not call.done.done():
            await self._answer_step(queue, release)
        await call.done

    async def _answer_step(self, queue: deque[_Waiting], release: Release) -> None:
        await self._lock.acquire()
        turn = self._turn = object()
        timer = asyncio.get_running_loop().call_later(self._patience_seconds, self._pass_on, turn)
        step = self._next_step(queue)
        try:
            if step:
                await self._take_in_hand([waiting.record for waiting in step], release)
        except BaseException as error:
            _end(step, error)
            raise
        else:
            _end(step, None)
        finally:
            timer.cancel()
            self._pass_on(turn)

    async def _take_in_hand(self, records: list[Record], release: Release) -> None:
        places = {Place.of(record) for record in records}
        self._in_hand |= places
        # All in hand, not only these: with those that were passed on before, none of them is alone.
        await self._hands.hold(self._of_ours(self._in_hand), len(self._in_hand) + self._unwatched)
        await self._answer(records, release)
        await self._cross_out(places)

    def _next_step(self, queue: deque[_Waiting]) -> list[_Waiting]:
        step: list[_Waiting] = []
        most = self._largest
        while queue:
            most = min(most, self._suspects.get(Place.of(queue[0].record), most))
            if len(step) >= most:
                break
            step.append(queue.popleft())
        return step

    async def _cross_out(self, places: set[Place]) -> None:
        self._in_hand.difference_update(places)
        self._survived += len(places)
        self._largest = min(2 * self._largest, _LARGEST_STEP)
        for place in self._suspects.keys() & places:
            del self._suspects[place]
            self._begin_anew()
        await self._hands.let_go(self._of_ours(places))

    def _of_ours(self, places: Iterable[Place]) -> list[Place]:
        """What is in a partition that has left is another's to write down."""
        return [place for place in places if place.where in self._ours]

    def _pass_on(self, turn: object) -> None:
        if self._turn is turn:
            self._turn = None
            self._lock.release()

    def _begin(self) -> None:
        self._careful = True
        self._largest = _FIRST_STEP
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._survived = 0
        self._until = asyncio.get_running_loop().time() + _ENOUGH_SECONDS

    async def _is_over(self) -> bool:
        if self._survived < _ENOUGH_RECORDS and asyncio.get_running_loop().time() < self._until:
            return False
        log.info("careful_no_more", survived=self._survived)
        self._careful = False
        never_came = list(self._suspects)
        self._suspects.clear()
        await self._hands.let_go(never_came)
        return True

    async def _count(self, alone: Collection[Place]) -> None:
        await self._hands.hold(alone, _COUNTED)
        for place in alone:
            log.error("died_at_record", topic=place.topic, partition=place.partition, offset=place.offset)
            await self._deaths.write(place)


def _end(step: Iterable[_Waiting], error: BaseException | None) -> None:
    """Tell the batches of these records; a failure ends each of them."""
    for _, call in step:
        call.left -= 1
        if call.done.done():
            continue
        if error is not None:
            call.done.cancel()
        elif call.left == 0:
            call.done.set_result(None)
