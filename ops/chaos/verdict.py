"""Do the books agree? Pure: each invariant of the design as a rule over four books."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple
from uuid import UUID

Invariant = Literal["A", "P", "C", "O", "L", "S"]

RECORDED_AMBIGUOUS = frozenset({"ambiguous", "late", "sent"})
"""States of `ledger_calls` that say: paid perhaps, and nobody saw the answer in time."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a fault may lead to without breaking a promise."""

    statuses: frozenset[str] = frozenset({"completed"})
    """How requests may end."""
    ambiguous: bool = True
    """Whether a call may be sent without its answer being seen; if not, calls per key are exactly one."""
    dead_letters: int | None = 0
    """How many, beyond the records that are no requests; None where it is not for this fault to say."""
    refused: int = 0
    """Records the broker is to refuse."""
    lag_seconds: float = 60.0
    """By when lag must be zero again."""
    recovery_seconds: float | None = None
    """By when the first of a dead worker's unfinished work must be done."""


class Paid(NamedTuple):
    """What one call or one result cost."""

    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One terminal result as one book has it."""

    request_id: UUID
    status: str
    source: str
    paid: Paid
    paid_by: UUID | None = None
    answer: str = ""
    """The answer's text, or its digest; empty where the book keeps none."""
    at: float = 0.0
    """When it was published, unix time; 0 where the book does not say."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call the model's own ledger charged."""

    request_id: UUID
    paid: Paid


@dataclass(frozen=True, slots=True)
class Question:
    """An accepted request: whose it is, under which key it is paid."""

    request_id: UUID
    tenant: str
    key: str


@dataclass(frozen=True, slots=True)
class Books:
    """The four books of a round, and what the ledger recorded beside them."""

    accepted: Sequence[Question]
    topic: Sequence[Entry]
    """Every copy."""
    model: Sequence[ModelCall]
    postgres: Sequence[Entry]
    clickhouse: Sequence[Entry]
    ambiguous: Mapping[str, int] = field(default_factory=dict)
    """By request key: calls recorded as sent without an answer that counted."""
    dead_letters: int = 0
    strangers: int = 0
    refused: int = 0
    committed_early: Sequence[UUID] = ()
    """Requests below a committed offset that had no result, retry or dead letter by then."""
    lag: int | None = 0
    healed_seconds: float = 0.0
    """From the heal until lag was zero."""
    recovery_seconds: float | None = None
    """From a worker's death to the first completion of what it had in hand; None where nothing was."""
    leaks: Sequence[str] = ()
    """Logs that hold a prompt."""


class Violation(NamedTuple):
    """A promise broken: which, how, and for whom."""

    invariant: Invariant
    what: str
    request_ids: tuple[str, ...] = ()


def violations(books: Books, expects: Expectation) -> list[Violation]:
    """Every promise these books show broken; empty when all hold."""
    return [
        *_one_result_each(books, expects),
        *_paid_once(books, expects),
        *_stores_agree(books),
        *_nothing_skipped(books),
        *_healed(books, expects),
        *_kept_apart(books),
    ]


def _one_result_each(books: Books, expects: Expectation) -> Iterable[Violation]:
    accepted = {each.request_id for each in books.accepted}
    for name, book in (("the topic", books.topic), ("Postgres", books.postgres), ("ClickHouse", books.clickhouse)):
        yield from _told("A", f"no result in {name}", accepted - {each.request_id for each in book})
        strange = [each.request_id for each in book if each.status not in expects.statuses]
        kinds = sorted({each.status for each in book} - expects.statuses)
        yield from _told("A", f"ended as {', '.join(kinds)} in {name}", strange)
    for name, book in (("Postgres", books.postgres), ("ClickHouse", books.clickhouse)):
        counted = Counter(each.request_id for each in book)
        yield from _told("A", f"more than one row in {name}", [one for one, count in counted.items() if count > 1])
        yield from _told("A", f"a row in {name} that nobody asked for", counted.keys() - accepted)
    yield from _told("A", "results that differ", _differing(books))
    expected = books.strangers + (expects.dead_letters or 0)
    if expects.dead_letters is not None and books.dead_letters != expected:
        yield Violation("A", f"{books.dead_letters} dead letters, expected {expected}")
    if books.refused != expects.refused:
        yield Violation("A", f"{books.refused} records refused by the broker, expected {expects.refused}")


def _differing(books: Books) -> Iterable[UUID]:
    """Requests whose copies are not the same. Where one id was used for several questions, the stores must agree."""
    asked = {(each.request_id, each.key) for each in books.accepted}
    contested = {one for one, count in Counter(one for one, _ in asked).items() if count > 1}
    told: dict[UUID, set[tuple[str, str, Paid]]] = defaultdict(set)
    bare: dict[UUID, set[tuple[str, Paid]]] = defaultdict(set)
    for each in books.topic:
        if each.request_id not in contested:
            told[each.request_id].add((each.status, each.answer, each.paid))
            bare[each.request_id].add((each.status, each.paid))
    for each in books.postgres:
        told[each.request_id].add((each.status, each.answer, each.paid))
        bare[each.request_id].add((each.status, each.paid))
    for each in books.clickhouse:  # keeps no text
        bare[each.request_id].add((each.status, each.paid))
    return [one for one in bare if len(told[one]) > 1 or len(bare[one]) > 1]


def _paid_once(books: Books, expects: Expectation) -> Iterable[Violation]:
    purses = _purses(books)
    calls: dict[str, list[UUID]] = defaultdict(list)
    for call in books.model:
        calls[purses.of(call.request_id)].append(call.request_id)
    for purse, callers in calls.items():
        allowed = purses.keys[purse] + purses.ambiguous[purse]
        if len(callers) > allowed:
            yield Violation("P", f"{len(callers)} paid calls for one key, {allowed} allowed", _ids(callers))
    if not expects.ambiguous and (unexpected := sum(books.ambiguous.values())):
        yield Violation("P", f"{unexpected} ambiguous calls where no fault makes any")


def _stores_agree(books: Books) -> Iterable[Violation]:
    """What either store says was paid is what the model charged, less the calls recorded as unseen."""
    purses = _purses(books)
    asked = {purses.of(call.request_id) for call in books.model}
    answered = [each.request_id for each in books.topic if each.status == "completed"]
    invented = [one for one in answered if purses.of(one) not in asked]
    yield from _told("C", "answered, and the model was never asked", invented)
    for name, book in (("Postgres", books.postgres), ("ClickHouse", books.clickhouse)):
        charged: dict[str, Counter[Paid]] = defaultdict(Counter)
        involved: dict[str, list[UUID]] = defaultdict(list)
        for call in books.model:
            charged[purses.of(call.request_id)][call.paid] += 1
            involved[purses.of(call.request_id)].append(call.request_id)
        for each in book:
            if each.paid.cost_usd:
                charged[purses.of(each.request_id)][each.paid] -= 1
                involved[purses.of(each.request_id)].append(each.request_id)
        for purse, left in charged.items():
            if any(count < 0 for count in left.values()):
                yield Violation("C", f"{name} says paid what the model never charged", _ids(involved[purse]))
            elif (unseen := left.total()) > purses.keys[purse] - 1 + purses.ambiguous[purse]:
                yield Violation("C", f"{unseen} charged calls that {name} does not have", _ids(involved[purse]))


@dataclass(frozen=True, slots=True)
class _Purses:
    """Which requests are paid together: those of one key, and all keys that one id was used for."""

    purse_of: Mapping[UUID, str]
    keys: Counter[str]
    ambiguous: Counter[str]

    def of(self, request_id: UUID) -> str:
        return self.purse_of.get(request_id, "")


def _purses(books: Books) -> _Purses:
    keys_of: dict[UUID, set[str]] = defaultdict(set)
    for each in books.accepted:
        keys_of[each.request_id].add(each.key)
    purse_of_key = {key: key for keys in keys_of.values() for key in keys}
    for keys in keys_of.values():
        purse = min(purse_of_key[key] for key in keys)
        purse_of_key |= {key: purse for key in purse_of_key if purse_of_key[key] in {purse_of_key[one] for one in keys}}
    ambiguous: Counter[str] = Counter()
    for key, count in books.ambiguous.items():
        ambiguous[purse_of_key.get(key, "")] += count
    purse_of = {one: purse_of_key[min(keys)] for one, keys in keys_of.items()}
    return _Purses(purse_of, Counter(purse_of_key.values()), ambiguous)


def _nothing_skipped(books: Books) -> Iterable[Violation]:
    yield from _told("O", "offsets committed past unfinished work", books.committed_early)
    if books.lag == 0:
        ended = {each.request_id for each in books.topic}
        skipped = {each.request_id for each in books.accepted} - ended
        yield from _told("O", "committed, and never answered", skipped)


def _healed(books: Books, expects: Expectation) -> Iterable[Violation]:
    if books.lag != 0:
        behind = "nobody can say how many" if books.lag is None else str(books.lag)
        yield Violation("L", f"{behind} records still wait {books.healed_seconds:.0f} s after the heal")
    elif books.healed_seconds > expects.lag_seconds:
        yield Violation("L", f"lag was zero {books.healed_seconds:.0f} s after the heal, not {expects.lag_seconds:g}")

    took, most = books.recovery_seconds, expects.recovery_seconds
    if took is not None and most is not None and took > most:
        yield Violation("L", f"a dead worker's work lay {took:.1f} s, not at most {most:g}")


def _kept_apart(books: Books) -> Iterable[Violation]:
    keys_of: dict[UUID, set[str]] = defaultdict(set)
    for asked in books.accepted:
        keys_of[asked.request_id].add(asked.key)
    # A key begins with its tenant, so that another tenant's answer is another key's.
    crossed = [
        each.request_id
        for each in books.topic
        if each.paid_by is not None
        and each.request_id in keys_of
        and not keys_of[each.request_id] & keys_of[each.paid_by]
    ]
    yield from _told("S", "the answer of another tenant or another question", crossed)
    yield from (Violation("S", f"a prompt in {log}") for log in books.leaks)


def _told(invariant: Invariant, what: str, request_ids: Iterable[UUID]) -> Iterable[Violation]:
    if ids := _ids(request_ids):
        yield Violation(invariant, f"{what} ({len(ids)})", ids)


def _ids(request_ids: Iterable[UUID]) -> tuple[str, ...]:
    return tuple(sorted({str(one) for one in request_ids}))
