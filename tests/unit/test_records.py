"""Records that are kept as columns are the same records."""

import pytest

from schemas.record import Record, RecordColumns, Records, columns_of
from streams.settings import Settings
from streams.sink_wiring import StoreName, batch_policy
from tests.unit.events import a_record

THREE = [a_record(b"%d" % offset, offset=offset, partition=offset % 2) for offset in range(3)]


def test_they_are_counted_read_and_sliced_as_a_list_of_them_is() -> None:
    kept = Records(columns_of(THREE))
    assert (len(kept), list(kept), kept[1], kept[-1]) == (3, THREE, THREE[1], THREE[-1])
    assert isinstance(kept[0], Record)
    assert list(kept[1:]) == THREE[1:]
    assert list(kept[3:]) == []


def test_their_columns_are_the_same_however_they_are_kept() -> None:
    kept = Records(columns_of(THREE))
    assert columns_of(kept) is kept.columns
    assert columns_of(list(kept)) == columns_of(THREE)
    assert columns_of([]) == RecordColumns(*[()] * len(Record._fields))


@pytest.mark.parametrize(("store", "eager_rows"), [("clickhouse", None), ("postgres", 10_000)])
def test_an_idle_postgres_gets_half_a_batch_and_clickhouse_whole_ones(store: StoreName, eager_rows: int | None) -> None:
    policy = batch_policy(store, Settings())
    assert (policy.rows, policy.eager_rows) == (20_000, eager_rows)
