"""Putting dead letters back on the topic they came from: what that would mean, and doing it."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol

from ops.dead_letters import Letter
from ops.redrive_book import LetterName, name_of
from schemas.codec import decode_request
from schemas.dead_letter import DecodeError, kept_headers
from schemas.record import OutgoingRecord
from schemas.result import Usage
from schemas.retry import FIRST_SEEN, first_seen_of
from schemas.templates import TemplateError
from schemas.topics import REQUEST_TOPIC_OF_LANE, RESULTS
from streams.model.prices import cost_usd
from streams.model.prompting import prompt_of

REDRIVEN_FROM: Final = "x-redriven-from"
_LARGEST_BATCH: Final = 100
_REQUEST_TOPICS: Final = frozenset(REQUEST_TOPIC_OF_LANE.values())

Publish = Callable[[Sequence[OutgoingRecord]], Sequence[bool]]


class Book(Protocol):
    """Remembers what was put back, see RedriveBook."""

    def begin(self, letters: Sequence[Letter], *, again: bool) -> list[Letter]: ...

    def confirm(self, letters: Sequence[Letter]) -> None: ...

    def forget(self, letters: Sequence[Letter]) -> None: ...


@dataclass(slots=True)
class Forecast:
    """What redriving would do. `cost_usd` is an upper bound: every byte a token, the longest answer, no cache."""

    letters: int = 0
    """That would go back."""
    requests: int = 0
    """Of those: requests that can be read now, and so are answered and may cost."""
    still_unreadable: int = 0
    """Of those: on a request topic, and would become dead letters again."""
    redriven_before: int = 0
    unconfirmed: int = 0
    """Of those redriven before: begun, and nobody knows whether they are there."""
    without_way_back: int = 0
    """Their topic is none that takes them."""
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0


@dataclass(slots=True)
class Redriven:
    """What was done."""

    sent: int = 0
    refused: int = 0


def way_back(letter: Letter) -> OutgoingRecord | None:
    """The letter as it returns, with no attempt burnt; None where its topic takes none."""
    topic = letter.origin_topic
    if topic not in _REQUEST_TOPICS | {RESULTS}:
        return None
    record = letter.record
    first_seen = str(record.header("x-original-timestamp") or first_seen_of(record))
    added = ((REDRIVEN_FROM, letter.place.encode()), (FIRST_SEEN, first_seen.encode()))
    return OutgoingRecord(topic or "", record.key, record.value, (*kept_headers(record.headers), *added))


def forecast(
    letters: Iterable[Letter],
    written: Mapping[LetterName, bool],
    default_model: str,
    limit: int | None = None,
    *,
    again: bool = False,
) -> Forecast:
    """Read the letters once, until `limit` would go back; nothing is sent."""
    told = Forecast()
    for letter in letters:
        if told.letters == limit:
            break
        name = name_of(letter)
        if name in written:
            told.redriven_before += 1
            told.unconfirmed += not written[name]
        if way_back(letter) is None:
            told.without_way_back += 1
        elif again or name not in written:
            told.letters += 1
            _weigh(letter, default_model, told)
    return told


def redrive(
    letters: Iterable[Letter], book: Book, publish: Publish, pace: Callable[[int], None], *, again: bool = False
) -> Redriven:
    """Send them in small batches, each written down first. `pace` is told each batch's size and waits as it must."""
    done = Redriven()
    for batch in _batches(letters):
        ours = book.begin(batch, again=again)
        if not ours:
            continue
        pace(len(ours))
        confirmed = publish([record for letter in ours if (record := way_back(letter)) is not None])
        there = [letter for letter, is_there in zip(ours, confirmed, strict=True) if is_there]
        refused = [letter for letter, is_there in zip(ours, confirmed, strict=True) if not is_there]
        book.confirm(there)
        book.forget(refused)
        done.sent += len(there)
        done.refused += len(refused)
        if refused:
            break  # the broker is the problem: what is left is left for the next run
    return done


def to_send(
    letters: Iterable[Letter], written: Container[LetterName], limit: int | None, *, again: bool
) -> Iterator[Letter]:
    """Those that have a way back and, unless `again`, were not put back before."""
    found = (letter for letter in letters if way_back(letter) is not None and (again or name_of(letter) not in written))
    return islice(found, limit)


def pace_of(per_second: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> Callable[[int], None]:
    """Waits so that never more than `per_second` go out, after a first batch at once."""
    free_at = clock()

    def pace(records: int) -> None:
        nonlocal free_at
        sleep(max(0.0, free_at - clock()))
        free_at = max(free_at, clock()) + records / per_second

    return pace


def _weigh(letter: Letter, default_model: str, told: Forecast) -> None:
    if letter.origin_topic not in _REQUEST_TOPICS:
        return
    try:
        request = decode_request(letter.record)
        prompt = prompt_of(request, request.model or default_model)
    except (DecodeError, TemplateError):
        told.still_unreadable += 1
        return
    text = (prompt.system or "") + json.dumps(prompt.messages, ensure_ascii=False)
    usage = Usage(input_tokens=len(text.encode()), output_tokens=request.max_tokens)
    cost = cost_usd(prompt.model, usage)
    told.requests += 1
    told.cost_usd += cost or 0
    told.unpriced += cost is None


def _batches(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    left = iter(letters)
    while batch := list(islice(left, _LARGEST_BATCH)):
        yield batch
