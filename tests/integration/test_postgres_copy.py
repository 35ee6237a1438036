"""What is sent to Postgres is what psycopg would send of the same rows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import set_json_dumps

from schemas.codec import encode_request, encode_result
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import BULK_REQUESTS
from streams.sinks.port import Row
from streams.sinks.postgres_copy import copied
from streams.sinks.postgres_rows import COLUMNS, pending_rows, readable, result_rows
from streams.sinks.result_fields import fields_of, turned
from tests.sinks import a_result, as_record
from tests.unit.events import requests, results

law = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def written(connection: psycopg.Connection, rows: Sequence[Row], *, by_psycopg: bool) -> list[Any]:
    """The table that holds the rows, read as text: so that an amount shows each of its digits."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE seen ({columns})".encode())
        with cursor.copy("COPY seen FROM STDIN (FORMAT binary)") as copy:
            if by_psycopg:
                copy.set_types(list(COLUMNS.values()))
                for row in rows:
                    copy.write_row(readable(row))
            else:
                for piece in copied(rows):
                    copy.write(piece)
        return cursor.execute("SELECT seen::text FROM seen ORDER BY seen::text").fetchall()


def result_row(result: PromptResult) -> Row:
    (row,) = result_rows([as_record(encode_result(result))], turned([fields_of(result)]))
    return row


def request_row(request: PromptRequest) -> Row:
    (row,) = pending_rows([as_record(encode_request(request, BULK_REQUESTS))], [request])
    return row


@given(st.lists(results().map(result_row) | requests().map(request_row), max_size=4))
@law
def test_a_row_is_written_as_psycopg_writes_it(postgres_dsn: str, rows: list[Row]) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        set_json_dumps(orjson.dumps, connection)
        assert written(connection, rows, by_psycopg=False) == written(connection, rows, by_psycopg=True)


def test_more_rows_than_are_written_at_once_all_arrive(postgres_dsn: str) -> None:
    rows = [result_row(a_result(UUID(int=number))) for number in range(1_234)]
    with psycopg.connect(postgres_dsn) as connection:
        assert len(written(connection, rows, by_psycopg=False)) == len(rows)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_fits_no_column_is_told(number: int) -> None:
    row = (*result_row(a_result())[:12], number, *result_row(a_result())[13:])
    with pytest.raises(OverflowError):
        list(copied([row]))
