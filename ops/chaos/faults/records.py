"""Records that are no requests, or requests that lie oddly."""

import time
from datetime import timedelta
from typing import Final

from ops.chaos.fault import Fault
from ops.chaos.load import Load
from ops.chaos.stage import Stage
from ops.chaos.verdict import Expectation
from schemas.topics import BULK_REQUESTS, REQUESTS

_FIRST: Final = 1_000_000
_TEN_MEGABYTES: Final = 10 * 1024 * 1024
# The broker refuses what is a whole hour ahead.
_NEARLY_AN_HOUR: Final = timedelta(minutes=59)

_NO_AMBIGUITY: Final = Expectation(ambiguous=False)

_POISON: Final = (
    b"\xff\xfe\x00\x80",
    b"{",
    b'{"request_id": 1}',
    b"[]",
    b'"' + b"x" * 2000 + b'"',
    b"\x00" * 512,
)


def _poison(_stage: Stage, load: Load) -> None:
    for topic in (REQUESTS, BULK_REQUESTS):
        for value in _POISON:
            load.put(topic, value, key=value[:8])
        load.put(topic, _POISON[0], headers=(("ce_type", b"\xff"), ("ce_specversion", None)))


def _tombstones(_stage: Stage, load: Load) -> None:
    for topic in (REQUESTS, BULK_REQUESTS):
        load.put(topic, None, key=b"gone")
        load.put(topic, b"")


def _oversize(_stage: Stage, load: Load) -> None:
    load.put(REQUESTS, b"x" * _TEN_MEGABYTES)


def _wrong_keys(_stage: Stage, load: Load) -> None:
    for number in range(30):
        same = [load.question(_FIRST + number) for _ in range(3)]
        load.ask(same[:1], key=b"not the fingerprint")
        load.ask(same[1:2], BULK_REQUESTS, key=None)
        load.ask(same[2:], partition=number % 12)


def _odd_clocks(_stage: Stage, load: Load) -> None:
    for number, offset in enumerate([_NEARLY_AN_HOUR, -_NEARLY_AN_HOUR] * 15):
        request = load.question(_FIRST + number // 2)
        moved = request.model_copy(update={"accepted_at": request.accepted_at + offset})
        load.ask([moved], timestamp=int((time.time() + offset.total_seconds()) * 1000))


FAULTS: Final = (
    Fault("poison", "bytes that are no request, in both lanes", _poison, expects=_NO_AMBIGUITY),
    Fault("tombstones", "records without a value", _tombstones, expects=_NO_AMBIGUITY),
    Fault("oversize", "a record of 10 MB", _oversize, expects=Expectation(ambiguous=False, refused=1)),
    Fault("wrong-keys", "the same questions under other partition keys", _wrong_keys, expects=_NO_AMBIGUITY),
    Fault("odd-clocks", "timestamps an hour off, both ways", _odd_clocks, expects=_NO_AMBIGUITY),
)
