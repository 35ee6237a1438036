"""`PostgresLedger`: the authority. What many tasks ask within a few milliseconds goes out as one statement."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, LiteralString
from uuid import uuid4

from streams import metrics
from streams.group_commit import GroupCommit
from streams.ledger.port import Claimed, LedgerUnavailable, RequestKey, Sending, Settlement, Verdict, Wish
from streams.ledger.postgres_connection import SILENCE_SECONDS, HealingConnection
from streams.ledger.postgres_records import sendings_json, settlements_json, verdict_of, wishes_json
from streams.ledger.settlements import require_complete

LEASE_SECONDS: Final = 12.0
HEARTBEAT_SECONDS: Final = 3.0
_MOST_RECORDS: Final = 64
"""Of one statement. Who is answered together goes on together, through every step after (decision 0019)."""

_CLAIM: Final = "SELECT * FROM ledger_ask(%(owner)s, %(wishes)s::json)"
_MARK_SENT: Final = "SELECT ledger_mark_sent(%(sendings)s::json)"
_SETTLE: Final = "SELECT ledger_settle(%(settlements)s::json, %(answers)b::bytea[])"
_BEAT: Final = """
INSERT INTO ledger_owners AS o VALUES (%(owner)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (owner) DO UPDATE SET alive_until = EXCLUDED.alive_until
"""
_FORGET_DEAD: Final = "DELETE FROM ledger_owners WHERE alive_until < clock_timestamp() - interval '1 day'"
_GIVE_BACK: Final = """
UPDATE ledger SET state = 'released', settled_at = clock_timestamp()
WHERE owner = %(owner)s AND state = 'claimed' AND key IN (
    SELECT key FROM ledger WHERE key = ANY(%(keys)s) ORDER BY key FOR UPDATE
)
"""


def new_owner() -> str:
    """A name no process had before: a restarted one must not take its own old claims for alive."""
    return str(uuid4())


class PostgresLedger:
    """One process's view. Belongs to one event loop; run `keep_alive` beside it, `aclose` it at the end.

    A claim whose reply was lost, or whose asker was cancelled before hearing of it, is given back by itself.
    """

    def __init__(
        self, dsn: str, owner: str, lease_seconds: float = LEASE_SECONDS, spacing_seconds: float = 0.003
    ) -> None:
        self.owner = owner
        self._lease_seconds = lease_seconds
        self._lanes = {name: HealingConnection(dsn) for name in ("claim", "mark_sent", "settle", "beat")}
        self._claims = GroupCommit(self._claim, spacing_seconds, _MOST_RECORDS, unheard=self._unheard)
        # The thread takes one after the other; with the next at hand it need not wait for turns of a busy loop.
        self._sendings = GroupCommit(self._mark_sent, spacing_seconds, _MOST_RECORDS, ahead=1)
        self._settlements = GroupCommit(self._settle, spacing_seconds, _MOST_RECORDS, ahead=1)
        self._handed_out: dict[RequestKey, int] = {}
        self._lost: dict[RequestKey, float | None] = {}
        self._claiming = asyncio.Lock()
        self._last_beat: float | None = None

    async def claim(self, wishes: Sequence[Wish]) -> list[Verdict]:
        """See Ledger."""
        return await self._claims.submit(wishes)

    async def mark_sent(self, sendings: Sequence[Sending]) -> list[bool]:
        """See Ledger."""
        return await self._sendings.submit(sendings)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See Ledger."""
        require_complete(settlements)
        return await self._settlements.submit(settlements)

    async def keep_alive(self, interval_seconds: float = HEARTBEAT_SECONDS) -> None:
        """Runs until cancelled. Without it claims die once their lease is over."""
        with contextlib.suppress(LedgerUnavailable):
            await self._lanes["beat"].ask(_FORGET_DEAD, {})
        while True:
            with contextlib.suppress(LedgerUnavailable):
                await self._beat()
                async with self._claiming:
                    await self._give_back_lost()
            await asyncio.sleep(interval_seconds)

    async def aclose(self) -> None:
        """Finish what was asked, then let go of the connections. Claims not settled die with their lease."""
        for lane in (self._claims, self._sendings, self._settlements):
            await lane.drained()
        for connection in self._lanes.values():
            await connection.aclose()

    async def _claim(self, wishes: Sequence[Wish]) -> list[Verdict]:
        async with self._claiming:
            if self._last_beat is None or time.monotonic() - self._last_beat > self._lease_seconds / 2:
                await self._beat()
            await self._give_back_lost()
            try:
                parameters = {"owner": self.owner, "wishes": wishes_json(wishes)}
                rows = await self._ask("claim", _CLAIM, parameters, len(wishes))
            except BaseException:
                self._lose(wish.key for wish in wishes)
                raise
            rows.sort(key=itemgetter(0))
            verdicts = [verdict_of(row[1:]) for row in rows]
            for wish, verdict in zip(wishes, verdicts, strict=True):
                if isinstance(verdict, Claimed):
                    self._handed_out[wish.key] = verdict.epoch
        for name, count in Counter(type(verdict).__name__.lower() for verdict in verdicts).items():
            metrics.LEDGER_VERDICTS.labels(name).inc(count)
        metrics.LEDGER_AMBIGUOUS.inc(sum(row[-1] for row in rows))
        return verdicts

    async def _mark_sent(self, sendings: Sequence[Sending]) -> list[bool]:
        parameters = {"sendings": sendings_json(sendings)}
        ((marked,),) = await self._ask("mark_sent", _MARK_SENT, parameters, len(sendings))
        allowed = set(marked)
        for each in sendings:
            if each.call_id not in allowed and self._handed_out.get(each.key) == each.epoch:
                del self._handed_out[each.key]
        return self._counted([sending.call_id in allowed for sending in sendings])

    async def _settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        answers = [(each.answer or b"") if each.outcome == "answered" else b"" for each in settlements]
        parameters = {"settlements": settlements_json(settlements), "answers": answers}
        ((numbers,),) = await self._ask("settle", _SETTLE, parameters, len(settlements))
        settled = set(numbers)
        for each in settlements:
            if self._handed_out.get(each.key) == each.epoch:
                del self._handed_out[each.key]
        metrics.LEDGER_AMBIGUOUS.inc(
            sum(each.outcome == "unknown" and n in settled for n, each in enumerate(settlements))
        )
        return self._counted([n in settled for n in range(len(settlements))])

    async def _ask(
        self, operation: str, statement: LiteralString, parameters: dict[str, Any], records: int
    ) -> list[tuple[Any, ...]]:
        metrics.LEDGER_BATCH_RECORDS.observe(records)
        with metrics.LEDGER_SECONDS.labels(operation).time():
            return await self._lanes[operation].ask(statement, parameters)

    def _counted(self, allowed: list[bool]) -> list[bool]:
        metrics.LEDGER_FENCED.inc(allowed.count(False))
        return allowed

    async def _beat(self) -> None:
        started = time.monotonic()
        await self._lanes["beat"].ask(_BEAT, {"owner": self.owner, "lease": self._lease_seconds})
        self._last_beat = started

    def _unheard(self, wish: Wish, verdict: Verdict) -> None:
        if isinstance(verdict, Claimed) and self._handed_out.get(wish.key) == verdict.epoch:
            del self._handed_out[wish.key]
            self._lose([wish.key])

    def _lose(self, keys: Iterable[RequestKey]) -> None:
        self._lost.update(dict.fromkeys(keys))

    async def _give_back_lost(self) -> None:
        """Claims that nobody here knows of would be held for as long as this process lives."""
        if not self._lost:
            return
        asked_at = time.monotonic()
        keys = [key for key in self._lost if key not in self._handed_out]
        await self._lanes["beat"].ask(_GIVE_BACK, {"owner": self.owner, "keys": keys})
        # The statement may be done after we gave it up, and after this: stay on it while the server still may do it.
        later = asked_at + 2 * SILENCE_SECONDS
        kept = {key: later if until is None else until for key, until in self._lost.items()}
        self._lost = {key: until for key, until in kept.items() if until > asked_at}
