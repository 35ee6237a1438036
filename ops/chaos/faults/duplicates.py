"""The same question many times, the same id for different questions."""

from typing import Final

from ops.chaos.fault import Fault
from ops.chaos.load import Load, LoadShape
from ops.chaos.stage import Stage
from ops.chaos.verdict import Expectation
from schemas.topics import BULK_REQUESTS, REQUESTS

_ONE_QUESTION: Final = 1_000_000
_COPIES: Final = 100
_PARTITIONS: Final = 12
_NO_AMBIGUITY: Final = Expectation(ambiguous=False)
_HALF_REPEATED: Final = LoadShape(repeated=0.5, neighbour=0)


def _nothing(stage: Stage, load: Load) -> None:
    stage.until(load.done, 120, "the load")


def _ask_at_once(_stage: Stage, load: Load) -> None:
    """Spread over partitions and lanes, so that no partition's order does the ledger's work."""
    for number in range(_COPIES):
        topic = (REQUESTS, BULK_REQUESTS)[number % 2]
        load.ask([load.question(_ONE_QUESTION)], topic, partition=number % _PARTITIONS)


def _reuse_ids(_stage: Stage, load: Load) -> None:
    for number in range(20):
        first, other = load.question(_ONE_QUESTION + number), load.question(2 * _ONE_QUESTION + number)
        load.ask([first, other.model_copy(update={"request_id": first.request_id})])


FAULTS: Final = (
    Fault(
        "none", "no fault, half of the questions asked before", _nothing, shape=_HALF_REPEATED, expects=_NO_AMBIGUITY
    ),
    Fault("concurrent-duplicates", "one question 100 times at once", _ask_at_once, expects=_NO_AMBIGUITY),
    Fault("id-reused", "one request id for two different questions", _reuse_ids, expects=_NO_AMBIGUITY),
)
