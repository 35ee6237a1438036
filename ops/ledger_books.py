"""Reading the ledger: one key, the calls whose outcome nobody knows, and whether the books agree."""

import json
import urllib.request
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 60_000

# Everything but the answer: an operator's terminal is no place for a customer's words.
_ROWS: Final = """
SELECT key, tenant, state, owner, epoch, attempts, ambiguous, request_id, call_id, reserved_usd,
    octet_length(answer) AS answer_bytes, input_tokens, output_tokens, cost_usd, paid_by,
    error ->> 'code' AS error_code, claimed_at, sent_at, settled_at, expires_at,
    EXISTS (SELECT FROM ledger_owners o WHERE o.owner = l.owner AND o.alive_until > clock_timestamp()) AS owner_alive
FROM ledger l WHERE key = ANY (%(keys)s) ORDER BY key
"""
_KEYS_OF_REQUEST: Final = "SELECT DISTINCT key FROM ledger_calls WHERE request_id = %(request_id)s"
_KEYS_CLAIMED: Final = """
SELECT key FROM ledger WHERE request_id = %(request_id)s OR paid_by = %(request_id)s
"""
_CALLS_OF_KEYS: Final = "SELECT * FROM ledger_calls WHERE key = ANY (%(keys)s) ORDER BY sent_at, call_id"
# What was not reserved is guessed from what the model's calls have cost on average.
_UNKNOWN: Final = """
SELECT c.call_id, c.key, c.tenant, c.request_id, c.model, c.sent_at,
    coalesce(c.reserved_usd, (
        SELECT round(avg(p.cost_usd), 9) FROM ledger_calls p WHERE p.model = c.model AND p.state = 'answered'
    )) AS at_risk_usd, c.reserved_usd IS NULL AS estimated
FROM ledger_calls c WHERE c.state = 'ambiguous' ORDER BY c.sent_at, c.call_id
"""
_STATES: Final = """
SELECT state, count(*) AS calls, coalesce(sum(cost_usd), 0) AS cost_usd,
    coalesce(sum(reserved_usd), 0) AS reserved_usd, count(*) FILTER (WHERE cost_usd IS NULL) AS unpriced
FROM ledger_calls GROUP BY state ORDER BY state
"""
_PAID_WITHOUT_RESULT: Final = """
SELECT c.request_id, count(*) AS paid, max(r.found) AS found, sum(c.cost_usd) AS ledger_usd, max(r.cost_usd) AS usd
FROM ledger_calls c LEFT JOIN LATERAL (
    SELECT count(*) AS found, sum(r.cost_usd) AS cost_usd FROM requests r
    WHERE r.request_id = c.request_id AND r.tenant = c.tenant AND r.source = 'model' AND r.status <> 'pending'
) r ON true
WHERE c.state = 'answered' GROUP BY c.tenant, c.request_id
HAVING count(*) <> 1 OR max(r.found) <> 1 OR sum(c.cost_usd) IS DISTINCT FROM max(r.cost_usd)
ORDER BY c.request_id
"""
_RESULT_WITHOUT_PAID: Final = """
SELECT r.request_id FROM requests r
WHERE r.source = 'model' AND r.completed_at >= (SELECT min(sent_at) FROM ledger_calls) AND NOT EXISTS (
    SELECT FROM ledger_calls c WHERE c.request_id = r.request_id AND c.tenant = r.tenant AND c.state = 'answered'
) ORDER BY r.request_id
"""
_BY_REQUEST: Final = """
SELECT request_id, count(*) FILTER (WHERE state IN ('answered', 'late')) AS paid,
    count(*) FILTER (WHERE state IN ('sent', 'ambiguous')) AS open,
    coalesce(sum(cost_usd) FILTER (WHERE state IN ('answered', 'late')), 0) AS cost_usd
FROM ledger_calls GROUP BY request_id
"""

Row = dict[str, Any]


class BooksUnreadableError(Exception):
    """A book could not be read; the message says which and what to do next."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Calls by state, and a sentence per request on which two books differ."""

    states: list[Row]
    differences: list[str] = field(default_factory=list)


@contextmanager
def ledger_connection(dsn: str) -> "Iterator[psycopg.Connection[Row]]":
    """Autocommit, rows as dictionaries. Raises BooksUnreadableError for whatever fails inside."""
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(
            dsn, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None, autocommit=True, row_factory=dict_row
        ) as connection:
            connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
            yield connection
    except psycopg.errors.UndefinedTable:
        raise BooksUnreadableError("Postgres has no ledger yet. Run: headrace migrate") from None
    except psycopg.Error as error:
        said = str(error).strip().splitlines()
        raise BooksUnreadableError(
            f"The ledger cannot be read ({type(error).__name__}: {said[0][:200] if said else 'no more is known'})."
        ) from None


def entries_of(connection: "psycopg.Connection[Row]", name: str) -> tuple[list[Row], list[Row]]:
    """The rows of a key or of a request's keys, and the calls made for them. The answers' bytes stay inside."""
    keys = [name]
    if (request_id := _as_uuid(name)) is not None:
        found = connection.execute(_KEYS_OF_REQUEST, {"request_id": request_id}).fetchall()
        found = found or connection.execute(_KEYS_CLAIMED, {"request_id": request_id}).fetchall()
        keys = [row["key"] for row in found]
    rows = connection.execute(_ROWS, {"keys": keys}).fetchall()
    return rows, connection.execute(_CALLS_OF_KEYS, {"keys": keys}).fetchall()


def unknown_calls(connection: "psycopg.Connection[Row]") -> list[Row]:
    """Calls that were sent and whose answer nobody saw, with what each may have cost."""
    return connection.execute(_UNKNOWN).fetchall()


def audit(connection: "psycopg.Connection[Row]", model_url: str | None = None) -> Audit:
    """Compare paid calls with results, and with what a rehearsed model charged when its address is given."""
    done = Audit(connection.execute(_STATES).fetchall())
    done.differences.extend(map(_told, connection.execute(_PAID_WITHOUT_RESULT)))
    done.differences.extend(
        f"request {row['request_id']}: a result says the model answered it, the ledger knows no paid call"
        for row in connection.execute(_RESULT_WITHOUT_PAID)
    )
    if model_url is not None:
        ours = {str(row["request_id"]): row for row in connection.execute(_BY_REQUEST)}
        done.differences.extend(_against_model(ours, _model_ledger(model_url)))
    return done


def _told(row: Row) -> str:
    request = f"request {row['request_id']}"
    if row["paid"] != 1:
        return f"{request}: {row['paid']} calls are settled as its answer"
    if row["found"] != 1:
        return f"{request}: paid, and {row['found']} results say so"
    return f"{request}: the ledger says {_usd(row['ledger_usd'])}, its result {_usd(row['usd'])}"


def _against_model(ours: dict[str, Row], charged: Iterable[Row]) -> list[str]:
    theirs: dict[str, list[Decimal | None]] = {}
    for call in charged:
        if call["output_tokens"]:
            theirs.setdefault(str(call["request_id"]), []).append(call["cost_usd"])
    nothing: Row = {"paid": 0, "open": 0, "cost_usd": Decimal(0)}
    differences = []
    for request_id in sorted(ours.keys() | theirs.keys()):
        known, costs = ours.get(request_id, nothing), theirs.get(request_id, [])
        if not known["paid"] <= len(costs) <= known["paid"] + known["open"]:
            differences.append(
                f"request {request_id}: the model charged {len(costs)} calls, the ledger has {known['paid']} paid"
                f" and {known['open']} of unknown outcome"
            )
        elif (
            not known["open"] and (cost := sum((each or Decimal(0) for each in costs), Decimal(0))) != known["cost_usd"]
        ):
            differences.append(
                f"request {request_id}: the model charged {_usd(cost)}, the ledger has {_usd(known['cost_usd'])}"
            )
    return differences


def _model_ledger(url: str) -> list[Row]:
    try:
        address = f"{url.rstrip('/')}/_rehearsal/ledger"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the operator's own address
            return [json.loads(line, parse_float=Decimal, parse_int=_whole) for line in answer]
    except (OSError, ValueError) as error:
        raise BooksUnreadableError(
            f"The model's own ledger cannot be read ({type(error).__name__}). Only a rehearsal server keeps one."
        ) from None


def _whole(digits: str) -> Decimal:
    return Decimal(digits)


def _usd(amount: Decimal | None) -> str:
    return "no price" if amount is None else f"{amount:f} USD"


def _as_uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
