"""What goes wrong between a sink and its store."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from ops.chaos.fault import Fault
from ops.chaos.faults.outages import under_load
from ops.chaos.load import Load, LoadShape
from ops.chaos.relay import Relay, ReplyRule
from ops.chaos.stage import Stage, StageError
from ops.chaos.verdict import Expectation
from ops.local.ports import LOOPBACK
from producers.uuid7 import uuid7
from schemas.codec import encode_result
from schemas.result import PromptResult, Timing
from schemas.topics import RESULTS

_SINK: Final = "sink-clickhouse"
_LOST_REPLIES: Final = 4
_INSERT: Final = b"insert_deduplication_token="
"""Stands in the address of every insert of ours, and of nothing else."""

_BAD_ROWS: Final = 3
_TOO_LARGE: Final = 2**70


def _is_lost(number: int) -> bool:
    """Each is lost at its first attempt, and the second one at its next attempt as well."""
    return number in (2, 3, 6, 9)


def _lose_replies(stage: Stage, load: Load) -> None:
    address = urlsplit(stage.endpoints["clickhouse"])
    rule = ReplyRule(_INSERT, _is_lost)
    with Relay((LOOPBACK, address.port or 0), rule) as relay:
        relayed = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{relay.port}"))
        stage.restart(_SINK, clickhouse=relayed.geturl())
        stage.until(lambda: rule.lost >= _LOST_REPLIES, 60, f"{_LOST_REPLIES} inserts to lose their reply")
        under_load(stage, load, 1)


def _direct_again(stage: Stage) -> None:
    stage.restart(_SINK)


def _put_bad_rows(stage: Stage, load: Load) -> None:
    for number in range(_BAD_ROWS):
        under_load(stage, load, 0.3 + 0.2 * number)
        record = encode_result(_bad_result())
        load.put(RESULTS, record.value, record.key, record.headers)
    if load.refused:
        raise StageError(f"the broker refused a bad row: {load.refused[0]}")


def _bad_result() -> PromptResult:
    """Well formed, and with a number that no store of ours has room for."""
    now = datetime.now(UTC)
    timing = Timing(accepted_at=now, started_at=now, completed_at=now)
    return PromptResult(
        request_id=uuid7(), tenant="chaos-bad-row", status="completed", attempts=_TOO_LARGE, timing=timing
    )


FAULTS: Final = (
    Fault(
        "clickhouse-reply-lost",
        "ClickHouse writes a batch, and the sink never hears of it",
        _lose_replies,
        _direct_again,
        shape=LoadShape(requests=400, seconds=12),
        expects=Expectation(ambiguous=False),
    ),
    Fault(
        "bad-row",
        "a result in the topic that no store takes: each sink sets it aside, alone",
        _put_bad_rows,
        # Two sinks set each aside; the load counts each once already.
        expects=Expectation(ambiguous=False, dead_letters=_BAD_ROWS),
    ),
)
