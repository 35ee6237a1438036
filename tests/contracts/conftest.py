"""The ledger under its contract: in memory and in Postgres."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from ops.migrations.apply import migrate_postgres
from tests.ledgers import Office, memory_office, postgres_office


@pytest.fixture(params=["memory", "postgres"])
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    if request.param == "memory":
        made = memory_office()
    else:
        dsn = request.getfixturevalue("postgres_dsn")
        migrate_postgres(dsn, datetime.now(UTC))
        made = postgres_office(dsn)
    yield made
    await made.aclose()
