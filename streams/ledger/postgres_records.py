"""What the ledger's functions in Postgres take and give: records as JSON, verdicts as rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from schemas.result import ErrorDetail, Usage
from streams.ledger.budgets import Use
from streams.ledger.port import (
    Claimed,
    Crowded,
    Ended,
    Held,
    Known,
    Refused,
    Sending,
    Settlement,
    Unknown,
    Verdict,
    Wish,
)

Json = dict[str, Any]
_MOST: Final = 2**63 - 1


def wishes_json(wishes: Sequence[Wish]) -> str:
    """Of several wishes for one key the first is marked, for a database that has no budgets yet."""
    seen: set[str] = set()
    records: list[Json] = []
    for n, wish in enumerate(wishes):
        records.append(
            {
                "n": n,
                "key": wish.key,
                "tenant": wish.tenant,
                "request_id": wish.request_id,
                "first": wish.key not in seen,
                "refresh": wish.refresh,
                "retry": wish.retry_ambiguous,
                "department": _name(wish.department),
                "user_id": _name(wish.user_id),
                "patient": wish.patient,
            }
        )
        seen.add(wish.key)
    return orjson.dumps(records).decode()


def verdict_of(row: tuple[Any, ...]) -> Verdict:
    """The row of one wish, without its number."""
    verdict, epoch, attempts, ambiguous, owner, answer, error = row[:7]
    match verdict:
        case "claimed":
            return Claimed(epoch, attempts, ambiguous)
        case "known" | "former":
            return Known(bytes(answer), former=verdict == "former")
        case "held":
            return Held(owner)
        case "unknown":
            return Unknown(ambiguous)
        case "ended":
            return Ended(ErrorDetail.model_validate(error), attempts)
        case "refused" | "crowded":
            return Crowded() if verdict == "crowded" else _refused(error)
        case _:
            raise ValueError(f"The database knows a verdict that this version does not: {verdict!r}. Upgrade Headrace.")


def _refused(budget: Json) -> Refused:
    """As the database keeps it: amounts as text, so that none is rounded."""
    use = Use(
        period=budget["period"],
        hard_usd=Decimal(budget["hard_usd"]),
        spent_usd=Decimal(budget["spent_usd"]),
        at_risk_usd=Decimal(budget["at_risk_usd"]),
        reserved_usd=Decimal(budget["reserved_usd"]),
        resets_at=datetime.fromtimestamp(budget["resets_at"], UTC),
    )
    return Refused(budget["scope"], use)


def sendings_json(sendings: Sequence[Sending]) -> str:
    return orjson.dumps(
        [
            {
                "key": each.key,
                "epoch": each.epoch,
                "call_id": each.call_id,
                "request_id": each.request_id,
                "tenant": each.tenant,
                "model": _text(each.model),
                "reserved_usd": _plain(each.reserved_usd),
                "department": _name(each.department),
                "user_id": _name(each.user_id),
            }
            for each in sendings
        ]
    ).decode()


def settlements_json(settlements: Sequence[Settlement]) -> str:
    """All but the answers, which travel beside it as bytes."""
    return orjson.dumps([_settlement(n, each) for n, each in enumerate(settlements)]).decode()


def _settlement(n: int, settlement: Settlement) -> Json:
    usage = settlement.usage
    return {
        "n": n,
        "key": settlement.key,
        "epoch": settlement.epoch,
        "request_id": settlement.request_id,
        "outcome": settlement.outcome,
        "call_id": settlement.call_id,
        "cost_usd": _plain(settlement.cost_usd),
        "expires_at": _moment(settlement.expires_at),
        "attempts": settlement.attempts,
        "error": None if settlement.error is None else _error(settlement.error),
    } | ({} if usage is None else _usage(usage))


def _usage(usage: Usage) -> Json:
    return {name: min(count, _MOST) for name, count in usage if count is not None}


def _error(error: ErrorDetail) -> Json:
    return {"code": _text(error.code), "message": _text(error.message), "retryable": error.retryable}


def _text(text: str) -> str:
    """Postgres' text holds no NUL, and UTF-8 no lone surrogate: the mark for an unreadable character stands there."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _name(name: str | None) -> str | None:
    return None if name is None else _text(name)


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
