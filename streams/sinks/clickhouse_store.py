"""`ClickHouseStore`: batches into `llm_results`, in Arrow's columns, one synchronous insert each."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, DataError

from schemas.record import Record
from schemas.request import PromptRequest
from streams.sinks import clickhouse_rows
from streams.sinks.port import BadRow, Batch, StoreUnavailable
from streams.sinks.result_fields import Columns

DEFAULT_DATABASE: Final = "headrace"
_TABLE: Final = "llm_results"
_CONNECT_SECONDS: Final = 5
_WRITE_SECONDS: Final = 60

# Synchronous, because only then does success mean that the rows are there (ClickHouse 26 waits by default, but it
# also joins inserts, and joined inserts have met tokens badly: ClickHouse#110604). One id decides its month, and
# ids are the callers': any number of months in one batch is fine.
# Twins in one batch are left to merges and to FINAL, which find those of two batches too: the insert need not look.
_SETTINGS: Final = {"async_insert": 0, "max_partitions_per_insert_block": 0, "optimize_on_insert": 0}

# Errors that name the data, not the server: only these make a row bad. Any other one may pass, so it is waited for.
_ROW_CODES: Final = frozenset({6, 27, 33, 38, 41, 53, 69, 70, 72, 117, 190, 321, 349, 407, 457})


class ClickHouseStore:
    """One HTTP client, made when needed. Pending requests are not for analysts and are left out."""

    def __init__(self, url: str, *, with_text: bool = False) -> None:
        self._url = url
        self._with_text = with_text
        self._client: Any = None

    def results(self, records: Sequence[Record], columns: Columns) -> pa.RecordBatch:
        """See ResultStore."""
        del records
        return clickhouse_rows.rows_of(columns, with_text=self._with_text)

    def requests(self, records: Sequence[Record], requests: Sequence[PromptRequest]) -> None:
        """See ResultStore."""

    def write(self, batch: Batch) -> None:
        """See ResultStore. A batch that comes again unchanged is dropped by its token, any other by its keys."""
        rows = pa.Table.from_batches([chunk.rows for chunk in batch.chunks]).combine_chunks()
        token = hashlib.sha256(batch.token.encode()).hexdigest()
        try:
            self._connected().insert_arrow(_TABLE, rows, settings={**_SETTINGS, "insert_deduplication_token": token})
        except (DataError, ValueError, TypeError, OverflowError) as error:
            raise BadRow("ClickHouse", type(error).__name__) from None
        except ClickHouseError as error:
            raise _translated(error) from None
        except OSError as error:
            raise StoreUnavailable("ClickHouse", type(error).__name__) from None

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        if self._client is None:
            self._client = clickhouse_client(self._url)
        return self._client


def clickhouse_client(url: str) -> Any:
    """A client of the address; its path names the database, `headrace` where it has none."""
    parts = urlsplit(url)
    return clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname,
        port=parts.port,
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/") or DEFAULT_DATABASE,
        connect_timeout=_CONNECT_SECONDS,
        send_receive_timeout=_WRITE_SECONDS,
        # One writer: a session would only make the server queue its requests.
        autogenerate_session_id=False,
    )


def _translated(error: ClickHouseError) -> BadRow | StoreUnavailable:
    code = getattr(error, "code", None)
    if isinstance(error, DatabaseError) and code in _ROW_CODES:
        return BadRow("ClickHouse", f"code {code} {getattr(error, 'name', None) or ''}".strip())
    about = f"code {code}" if code else type(error).__name__
    return StoreUnavailable("ClickHouse", about)
