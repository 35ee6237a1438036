"""ClickHouse as the commands on cost ask it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.settings import Settings
from streams.sinks.clickhouse_store import clickhouse_client


class AnalystsUnavailableError(RuntimeError):
    """ClickHouse does not answer, or not with what was asked for."""


@contextmanager
def analysts(settings: Settings) -> Iterator[Any]:
    """A client for the block. Raises AnalystsUnavailableError, also for what fails in the block."""
    # Else the client writes to stderr beside the exception that it raises.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    try:
        client = clickhouse_client(settings.clickhouse.get_secret_value())
        try:
            yield client
        finally:
            client.close()
    except (ClickHouseError, OSError) as error:
        code = getattr(error, "code", None)
        about = f"code {code}" if code else type(error).__name__
        raise AnalystsUnavailableError(f"ClickHouse cannot be asked ({about}); is it up and migrated?") from None
