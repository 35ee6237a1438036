"""Answers that come piece by piece, over as many connections as it takes: what was had is neither lost nor repeated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar
from uuid import UUID

from producers.client.calls import Call, Outcome, Pairs, read, told_by
from producers.client.documents import BulkResult, StreamedResult
from producers.client.errors import error_of, unreadable
from producers.client.patience import Dice, Patience
from producers.client.talk import may_pass
from schemas.result import PromptResult

T = TypeVar("T")

_SLOW_EVENTS_SECONDS: Final = 15.0
"""Beyond the usual: the gateway gives a sign of life each 15 s."""
_LONGEST_LINE_BYTES: Final = 32 * 1024 * 1024
_LONGEST_AFTER_CUT_SECONDS: Final = 30.0


class Reading(Protocol[T]):
    """What is asked, what its pieces mean, and whether to connect again."""

    @property
    def is_over(self) -> bool:
        """Nothing more is to be asked."""
        ...

    def call(self) -> Call:
        """From where it stands."""
        ...

    def take(self, piece: bytes) -> list[T]:
        """What the piece completes."""
        ...

    def ended(self, outcome: Outcome | None) -> float:
        """The connection is over, None by the other side's will: seconds until the next. Raises GatewayError."""
        ...


@dataclass(slots=True)
class Lines:
    """Lines from pieces of any size."""

    _rest: bytes = b""

    def completed(self, piece: bytes) -> list[bytes]:
        """The lines that end in the piece. Raises UnreadableAnswerError for one longer than any of a gateway."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise unreadable(200)
        return whole


@dataclass(slots=True)
class Comeback:
    """How patient a reading is; every piece that comes shows that the gateway is there."""

    patience: Patience
    dice: Dice
    ticks: Callable[[], float]
    _failures: int = 0
    _failing_since: float = 0.0

    def note_life(self) -> None:
        """Failures before count no more."""
        self._failures = 0

    def seconds(self, outcome: Outcome) -> float:
        """The pause before the next connection. Raises GatewayError."""
        now = self.ticks()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        told = told_by(outcome)
        failing = now - self._failing_since
        pause = self.patience.pause_seconds(self._failures, failing, told.retry_after_seconds, self.dice)
        if pause is None or not may_pass(outcome):
            raise error_of(told)
        return pause


@dataclass(slots=True)
class ResultEvents:
    """Server-sent events of results, resumed by Last-Event-ID; it ends only with an error."""

    query: Pairs
    comeback: Comeback
    last_event_id: str | None = None
    """Of the last whole event, or of where the stream stands between events."""
    is_open: bool = False
    is_over: bool = field(default=False, init=False)
    _pieces: Lines = field(default_factory=Lines)
    _lines: list[bytes] = field(default_factory=list)
    _after_cut_seconds: float = 1.0

    def call(self) -> Call:
        """See Reading."""
        self._pieces = Lines()
        self._lines.clear()
        headers: Pairs = () if self.last_event_id is None else (("Last-Event-ID", self.last_event_id),)
        return Call("GET", "/v1/results/stream", self.query, headers, None, _SLOW_EVENTS_SECONDS)

    def take(self, piece: bytes) -> list[StreamedResult]:
        """See Reading."""
        self.comeback.note_life()
        found: list[StreamedResult] = []
        for line in self._pieces.completed(piece):
            if stripped := line.removesuffix(b"\r"):
                self._lines.append(stripped)
            elif (result := self._dispatched()) is not None:
                found.append(result)
        return found

    def ended(self, outcome: Outcome | None) -> float:
        """See Reading."""
        if outcome is None:
            return self._after_cut_seconds * self.comeback.dice()  # a copy that ends sends all of its clients away
        return self.comeback.seconds(outcome)

    def _dispatched(self) -> StreamedResult | None:
        """An empty line ends a frame: now its id counts, and its data is an event where it is one of a result."""
        fields: dict[bytes, bytes] = {}
        for line in self._lines:
            name, _, value = line.partition(b":")
            fields[name] = value.removeprefix(b" ")
        self._lines.clear()
        self.is_open = True
        if b"id" in fields:
            self.last_event_id = fields[b"id"].decode()
        if fields.get(b"retry", b"").isdigit():
            self._after_cut_seconds = min(int(fields[b"retry"]) / 1000, _LONGEST_AFTER_CUT_SECONDS)
        if fields.get(b"event") != b"result":
            return None
        return StreamedResult(self.last_event_id or "", read(PromptResult, fields.get(b"data", b"")))


@dataclass(slots=True)
class JobResults:
    """The results of a bulk job as lines; cut, they are asked for again and those that were had are passed over."""

    job: UUID
    comeback: Comeback
    is_over: bool = field(default=False, init=False)
    _pieces: Lines = field(default_factory=Lines)
    _had: set[int] = field(default_factory=set)

    def call(self) -> Call:
        """See Reading."""
        self._pieces = Lines()
        return Call("GET", f"/v1/bulk/{self.job}/results")

    def take(self, piece: bytes) -> list[BulkResult]:
        """See Reading."""
        self.comeback.note_life()
        whole = [read(BulkResult, line) for line in self._pieces.completed(piece) if line]
        found = [result for result in whole if result.item not in self._had]
        self._had.update(result.item for result in found)
        return found

    def ended(self, outcome: Outcome | None) -> float:
        """See Reading."""
        if outcome is None:
            self.is_over = True
            return 0.0
        return self.comeback.seconds(outcome)
