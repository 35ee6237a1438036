"""Which dead letters were put back: a row before it is sent, marked when the broker has it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg

from ops.dead_letters import Letter

_CONNECT_SECONDS: Final = 5

_BEGIN: Final = """
INSERT INTO dead_letter_redrives (letter_partition, letter_offset, letter_timestamp_ms)
SELECT * FROM unnest(%s::integer[], %s::bigint[], %s::bigint[])
ON CONFLICT (letter_partition, letter_offset, letter_timestamp_ms) DO UPDATE SET begun_at = now() WHERE %s
RETURNING letter_partition, letter_offset, letter_timestamp_ms
"""
_NAMED: Final = """
WHERE (letter_partition, letter_offset, letter_timestamp_ms) IN
      (SELECT * FROM unnest(%s::integer[], %s::bigint[], %s::bigint[]))
"""


class LetterName(NamedTuple):
    """One letter for good, also when the topic was made anew."""

    partition: int
    offset: int
    timestamp_ms: int


class RedriveBook:
    """Kept in Postgres; close it. Every method raises psycopg.Error."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(
            dsn, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None, autocommit=True
        )

    def written(self) -> dict[LetterName, bool]:
        """Every letter put back so far, and whether the broker confirmed it."""
        rows = self._connection.execute(
            "SELECT letter_partition, letter_offset, letter_timestamp_ms, confirmed_at IS NOT NULL"
            " FROM dead_letter_redrives"
        )
        return {LetterName(*row[:3]): row[3] for row in rows}

    def begin(self, letters: Sequence[Letter], *, again: bool) -> list[Letter]:
        """Write them down; those that are ours to send: not written before, unless `again`."""
        rows = self._connection.execute(_BEGIN, (*_columns(letters), again)).fetchall()
        ours = {LetterName(*row) for row in rows}
        return [letter for letter in letters if name_of(letter) in ours]

    def confirm(self, letters: Sequence[Letter]) -> None:
        """The broker has them."""
        self._connection.execute(f"UPDATE dead_letter_redrives SET confirmed_at = now() {_NAMED}", _columns(letters))  # noqa: S608 - ours

    def forget(self, letters: Sequence[Letter]) -> None:
        """The broker refused them: they may be tried again."""
        self._connection.execute(f"DELETE FROM dead_letter_redrives {_NAMED}", _columns(letters))  # noqa: S608 - ours

    def close(self) -> None:
        self._connection.close()


def name_of(letter: Letter) -> LetterName:
    return LetterName(letter.record.partition, letter.record.offset, letter.record.timestamp_ms)


def _columns(letters: Sequence[Letter]) -> tuple[list[int], list[int], list[int]]:
    names = [name_of(letter) for letter in letters]
    return [name.partition for name in names], [name.offset for name in names], [name.timestamp_ms for name in names]
