"""A table of a million answered requests, by COPY: what a status lookup has to find its way through."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from producers.uuid7 import uuid7

_COPY: Final = """
COPY requests (request_id, tenant, user_id, labels, lane, status, accepted_at, started_at, completed_at, queue_ms,
    model_ms, source, model, input_tokens, output_tokens, cost_usd, attempts, answer, stop_reason) FROM STDIN
"""
_ANSWER: Final = "interface Gi1/0/7 switchport access vlan 110 " * 6
_APART_MS: Final = 20
_SAMPLE: Final = 20_000


def fill(dsn: str, tenant: str, rows: int, sample: Path) -> None:
    """Write the rows, count them for the planner, and put some of their ids into `sample`, one a line."""
    import psycopg

    ids = list(_ids(rows))
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for number, request_id in enumerate(ids):
                copy.write(_line(number, request_id, tenant))
        connection.execute("VACUUM ANALYZE requests")
        # What was just loaded is on its way to the disk; a table that has been there for a while is not.
        connection.execute("CHECKPOINT")
    sample.write_text("\n".join(str(each) for each in random.sample(ids, min(rows, _SAMPLE))) + "\n")


def _ids(rows: int) -> Iterator[UUID]:
    first_ms = int(time.time() * 1000) - rows * _APART_MS
    return (uuid7(first_ms + number * _APART_MS) for number in range(rows))


def _line(number: int, request_id: UUID, tenant: str) -> str:
    moment = datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC).isoformat()
    labels = f'{{"device_name": "ams-{number % 5000}"}}'
    cells = (
        request_id, tenant, f"u-{number % 500}", labels, "interactive", "completed", moment, moment, moment, 20, 900,
        "model", "claude-haiku-5-5", 120, 60, "0.000420", 1, _ANSWER, "end_turn",
    )  # fmt: skip
    return "\t".join(str(cell) for cell in cells) + "\n"
